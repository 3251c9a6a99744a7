// When the scale grows and when it falls.
#include "optim/loss_scaler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/pointwise.h"

namespace hadal {

LossScaler::LossScaler(const LossScaleConfig& config) : config_(config) {
  state_.scale = config.initial;
  state_.hysteresis_left = config.hysteresis;
}

void LossScaler::set_state(const State& state) {
  int exponent = 0;
  check(
      std::isfinite(state.scale) && std::frexp(state.scale, &exponent) == 0.5 && state.clean_steps >= 0 &&
          state.hysteresis_left >= 0 && state.overflows >= 0,
      ErrorKind::corrupt,
      "a loss scale of {} after {} clean steps and {} overflows, {} before it falls, is none that a run leaves behind",
      state.scale, state.clean_steps, state.overflows, state.hysteresis_left);
  state_ = state;
  state_.scale = std::clamp(state.scale, config_.floor, config_.cap);
  state_.hysteresis_left = std::min(state.hysteresis_left, config_.hysteresis);
  exhausted_ = false;
}

void LossScaler::clean_step() {
  exhausted_ = false;
  if (++state_.clean_steps < config_.growth_steps) return;
  state_.clean_steps = 0;
  const double grown = std::min(state_.scale * config_.growth, config_.cap);
  if (grown > state_.scale) state_.hysteresis_left = config_.hysteresis;
  state_.scale = grown;
}

void LossScaler::overflow() {
  ++state_.overflows;
  state_.clean_steps = 0;
  state_.hysteresis_left = std::max<int64_t>(0, state_.hysteresis_left - 1);
  if (state_.hysteresis_left > 0) return;
  exhausted_ = state_.scale <= config_.floor;
  state_.scale = std::max(state_.scale * config_.backoff, config_.floor);
}

void unscale_gradients(const Exec& exec, const Parameters& parameters, double loss_scale) {
  if (loss_scale == 1) return;
  for (const Parameter* parameter : parameters)
    if (parameter->grad) ops::scale(exec, parameter->grad, 1 / loss_scale);
}

}  // namespace hadal
