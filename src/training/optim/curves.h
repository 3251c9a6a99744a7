// Curves: learning rate, batch size, MTP weight and bias speed as functions of the step, from lists of segments
// (§2.3). Steps count from 1; a segment covers the steps up to its `until` (a number of steps, or a fraction of the
// run), from the value where the segment before ended to its own `to`; steps after the last segment keep its value.
#pragma once
#include <cstdint>
#include <vector>

#include "config/config.h"

namespace hadal {

double curve_value(const Curve& curve, double start, int64_t step, int64_t total_steps);

double learning_rate(const OptimConfig& config, int64_t step, int64_t total_steps);
int64_t batch_sequences(const TrainConfig& config, int64_t step);  // at least 1
int64_t steps_of(int64_t sequences, const TrainConfig& config);    // without a ramp; the last batch may be smaller
// Of the steps first .. last together. Runs of equal batches are counted at once, so that a plan of 10^12 steps is no
// more work than its ramp has values.
int64_t total_sequences(const TrainConfig& config, int64_t first, int64_t last);
double mtp_weight(const TrainConfig& config, int64_t step);  // lambda of §2.4
double bias_speed(const TrainConfig& config, int64_t step);  // gamma of §2.4, 0 once frozen

}  // namespace hadal
