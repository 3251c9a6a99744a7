#include "train/skipped_step.h"

#include <fmt/format.h>

#include "base/error.h"

namespace hadal {
namespace {

std::string judge_overflow(const Config& config, const StepResult& result, const LossScaler& scaler) {
  check(!scaler.exhausted(), ErrorKind::failed,
        "step {}: {}; loss_scale.floor = {} forbids a smaller one: lower optim.lr, look at the data, or train in bf16",
        result.step, result.skipped, config.loss_scale.floor);
  const std::string what = scaler.scale() == result.loss_scale ? "it stays, an overflow from now on lowers it"
                                                               : fmt::format("it is {} from now on", scaler.scale());
  return fmt::format("step {} skipped: {}; {}", result.step, result.skipped, what);
}

}  // namespace

std::string judge_step(const Config& config, const StepResult& result, const LossScaler* scaler, TrainState& state) {
  if (result.skipped.empty()) {
    state.skipped_in_row = 0;
    return "";
  }
  if (result.overflowed) return judge_overflow(config, result, *scaler);
  ++state.skipped_in_row;
  check(config.train.on_nan != OnNan::stop, ErrorKind::failed, "step {}: {}; stopped, because train.on_nan = \"stop\"",
        result.step, result.skipped);
  check(state.skipped_in_row <= config.train.max_skips, ErrorKind::failed,
        "step {}: {}; {} steps in a row were skipped, more than train.max_skips = {}: "
        "lower optim.lr, or look at the data",
        result.step, result.skipped, state.skipped_in_row, config.train.max_skips);
  return fmt::format("step {} skipped: {}", result.step, result.skipped);
}

}  // namespace hadal
