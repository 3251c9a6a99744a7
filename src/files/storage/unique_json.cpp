#include "storage/unique_json.h"

#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/text_format.h"

namespace hadal {

nlohmann::json parse_unique_json(std::string_view text, const std::string& where, const std::string& what,
                                 int max_depth) {
  using Json = nlohmann::json;
  check(!nests_deeper_than(text, max_depth), ErrorKind::corrupt,
        "{}: not a valid {}: nested deeper than {} levels, which none of this format is", where, what, max_depth);
  std::vector<std::unordered_set<std::string>> names;  // of the objects that are open
  std::string repeated;
  const Json::parser_callback_t watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key && !names.back().insert(value.get<std::string>()).second && repeated.empty())
      repeated = value.get<std::string>();
    return true;
  };
  Json json;
  try {
    json = Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception& error) {
    fail(ErrorKind::corrupt, "{}: not a valid {}: not JSON ({})", where, what, error.what());
  }
  check(repeated.empty(), ErrorKind::corrupt, "{}: not a valid {}: the name '{}' stands twice in one object", where,
        what, repeated);
  check(json.is_object(), ErrorKind::corrupt, "{}: not a valid {}: not a JSON object", where, what);
  return json;
}

}  // namespace hadal
