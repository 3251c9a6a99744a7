// The cursor as JSON.
#include "data/cursor.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace hadal::data {

std::string Cursor::to_json() const {
  nlohmann::ordered_json json{
      {"identity", identity}, {"window", window}, {"position", position}, {"sequences", sequences}, {"plan", plan}};
  json["sources"] = nlohmann::ordered_json::array();
  for (const SourceCursor& s : sources) {
    json["sources"].push_back({{"epoch", s.epoch},
                               {"position", s.position},
                               {"token", s.token},
                               {"part", s.part},
                               {"drawn", s.drawn},
                               {"finished", s.finished}});
  }
  return json_text(json);
}

Cursor Cursor::from_json(const std::string& text) {
  const auto json = parse_json(text, "the data cursor", {.levels = 8, .integers = true});
  try {
    Cursor cursor{json.at("identity"), json.at("window"), json.at("position"), json.at("sequences"), {}, {}};
    cursor.plan = json.value("plan", "");
    for (const auto& s : json.at("sources")) {
      cursor.sources.push_back(
          {s.at("epoch"), s.at("position"), s.at("token"), s.at("part"), s.at("drawn"), s.at("finished")});
    }
    return cursor;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::corrupt, "the data cursor cannot be read: {}", error.what());
  }
}

}  // namespace hadal::data
