// What a step without an update means for a run: it goes on, or it ends.
#pragma once
#include <string>

#include "train/step.h"
#include "train/train_state.h"

namespace hadal {

// Counts in `state` the steps in a row that were skipped for NaN or Inf. Overflows of scaled gradients are none of
// them: they are part of the life of a loss scale, and neither train.on_nan nor train.max_skips looks at them. Returns
// what a person should read, empty after an update; throws failed where the run must end: told so by train.on_nan,
// beyond train.max_skips, or by an overflow at the smallest loss scale. scaler: null where losses are not scaled.
std::string judge_step(const Config& config, const StepResult& result, const LossScaler* scaler, TrainState& state);

}  // namespace hadal
