// TrainState to and from JSON.
#include "train/train_state.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
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
  if (updates_before > 0) json["updates_before"] = updates_before;
  if (loss_scale)
    LossScaler::State::visit(*loss_scale, [&](const char* name, const auto& x) { json["loss_scale"][name] = x; });
  json["cursor"] = parse_json<ordered_json>(cursor.to_json(), "the cursor");
  return json_text(json, {.indent = 1});
}

TrainState TrainState::load(const std::filesystem::path& checkpoint) {
  const auto file = checkpoint / "state.json";
  return from_json(read_file(file), file.string());
}

TrainState TrainState::from_json(const std::string& text, const std::string& origin) {
  const auto json = parse_json<ordered_json>(text, origin, {.levels = 16});
  try {
    check(json.at("format") == "hadal-state-1", ErrorKind::corrupt, "{}: format '{}' is not hadal-state-1", origin,
          json_text(json.at("format")));
    for (const char* name : {"step", "updates", "tokens", "skipped_in_row"})
      check(json.at(name).is_number_integer(), ErrorKind::corrupt, "{}: {} is {}, wanted an integer", origin, name,
            json_text(json.at(name)));
    TrainState state;
    state.step = json.at("step").get<int64_t>();
    state.updates = json.at("updates").get<int64_t>();
    if (json.contains("updates_before")) state.updates_before = json.at("updates_before").get<int64_t>();
    state.tokens = json.at("tokens").get<int64_t>();
    state.skipped_in_row = json.at("skipped_in_row").get<int64_t>();
    state.smoothed_loss = json.at("smoothed_loss").get<double>();
    const int64_t own = state.updates - state.updates_before;
    check(state.step >= 0 && state.updates_before >= 0 && own >= 0 && own <= state.step && state.tokens >= 0 &&
              state.skipped_in_row >= 0,
          ErrorKind::corrupt, "{}: {} steps, {} updates, {} tokens and {} skipped cannot be", origin, state.step,
          state.updates, state.tokens, state.skipped_in_row);
    if (json.contains("loss_scale")) {
      const auto& stored = json.at("loss_scale");
      LossScaler::State::visit(state.loss_scale.emplace(), [&](const char* name, auto& x) {
        check(stored.at(name).is_number(), ErrorKind::corrupt, "{}: {} of the loss scale is {}, wanted a number",
              origin, name, json_text(stored.at(name)));
        x = stored.at(name).template get<std::remove_reference_t<decltype(x)>>();
      });
    }
    state.cursor = data::Cursor::from_json(json_text(json.at("cursor")));
    return state;
  } catch (const ordered_json::exception& error) {
    fail(ErrorKind::corrupt, "{}: {}", origin, error.what());
  }
}

}  // namespace hadal
