// TrainState to and from JSON.
#include "train/train_state.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace hadal {

using nlohmann::ordered_json;

std::string TrainState::to_json() const {
  ordered_json json = {{"format", "hadal-state-1"}, {"step", step}, {"updates", updates}, {"tokens", tokens},
                       {"skipped_in_row", skipped_in_row}, {"smoothed_loss", smoothed_loss}};
  json["cursor"] = ordered_json::parse(cursor.to_json());
  return json.dump(1);
}

TrainState TrainState::from_json(const std::string& text, const std::string& origin) {
  try {
    const auto json = ordered_json::parse(text);
    check(json.at("format") == "hadal-state-1", ErrorKind::corrupt, "{}: format '{}' is not hadal-state-1", origin, json.at("format").dump());
    TrainState state;
    state.step = json.at("step").get<int64_t>();
    state.updates = json.at("updates").get<int64_t>();
    state.tokens = json.at("tokens").get<int64_t>();
    state.skipped_in_row = json.at("skipped_in_row").get<int64_t>();
    state.smoothed_loss = json.at("smoothed_loss").get<double>();
    state.cursor = data::Cursor::from_json(json.at("cursor").dump());
    return state;
  } catch (const ordered_json::exception& error) {
    fail(ErrorKind::corrupt, "{}: {}", origin, error.what());
  }
}

}  // namespace hadal
