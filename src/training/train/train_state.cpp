// TrainState to and from JSON.
#include "train/train_state.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace hadal {

using nlohmann::ordered_json;

std::string TrainState::to_json() const {
  ordered_json json = {{"format", "hadal-state-1"},
                       {"step", step},
                       {"updates", updates},
                       {"tokens", tokens},
                       {"skipped_in_row", skipped_in_row},
                       {"smoothed_loss", smoothed_loss}};
  json["cursor"] = ordered_json::parse(cursor.to_json());
  return json.dump(1);
}

TrainState TrainState::from_json(const std::string& text, const std::string& origin) {
  const auto json = parse_json<ordered_json>(text, origin, {.levels = 16});
  try {
    check(json.at("format") == "hadal-state-1", ErrorKind::corrupt, "{}: format '{}' is not hadal-state-1", origin,
          json.at("format").dump());
    for (const char* name : {"step", "updates", "tokens", "skipped_in_row"})
      check(json.at(name).is_number_integer(), ErrorKind::corrupt, "{}: {} is {}, wanted an integer", origin, name,
            json.at(name).dump());
    TrainState state;
    state.step = json.at("step").get<int64_t>();
    state.updates = json.at("updates").get<int64_t>();
    state.tokens = json.at("tokens").get<int64_t>();
    state.skipped_in_row = json.at("skipped_in_row").get<int64_t>();
    state.smoothed_loss = json.at("smoothed_loss").get<double>();
    check(state.step >= 0 && state.updates >= 0 && state.updates <= state.step && state.tokens >= 0 &&
              state.skipped_in_row >= 0,
          ErrorKind::corrupt, "{}: {} steps, {} updates, {} tokens and {} skipped cannot be", origin, state.step,
          state.updates, state.tokens, state.skipped_in_row);
    state.cursor = data::Cursor::from_json(json.at("cursor").dump());
    return state;
  } catch (const ordered_json::exception& error) {
    fail(ErrorKind::corrupt, "{}: {}", origin, error.what());
  }
}

}  // namespace hadal
