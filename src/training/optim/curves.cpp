// Values of curves; the defaults are the report's shape stretched over any run.
#include "optim/curves.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hadal {

namespace {

double end_of(const CurveSegment& segment, int64_t total_steps) {
  return segment.until <= 1 ? std::round(segment.until * double(total_steps)) : segment.until;
}

const Curve& default_lr() {
  static const Curve curve = {
      {CurveShape::linear, 1.0, 0.03}, {CurveShape::constant, 1.0, 0.6}, {CurveShape::cosine, 0.1, 1.0}};
  return curve;
}

const Curve& default_mtp() {
  static const Curve curve = {{CurveShape::constant, 0.3, 0.676}, {CurveShape::constant, 0.1, 1.0}};
  return curve;
}

}  // namespace

double curve_value(const Curve& curve, double start, int64_t step, int64_t total_steps) {
  double from = start, begin = 0;
  for (const auto& segment : curve) {
    const double end = end_of(segment, total_steps);
    if (double(step) <= end) {
      if (segment.shape == CurveShape::constant) return segment.to;
      const double share = end > begin ? (double(step) - begin) / (end - begin) : 1.0;
      const double bent = segment.shape == CurveShape::cosine ? 0.5 * (1 - std::cos(std::numbers::pi * share)) : share;
      return from + (segment.to - from) * bent;
    }
    from = segment.to;
    begin = std::max(begin, end);
  }
  return from;
}

double learning_rate(const OptimConfig& config, int64_t step, int64_t total_steps) {
  const auto& curve = config.lr_schedule.empty() ? default_lr() : config.lr_schedule;
  return config.lr * curve_value(curve, 0.0, step, total_steps);
}

int64_t batch_sequences(const TrainConfig& config, int64_t step) {
  if (config.batch_ramp.empty()) return config.batch_sequences;
  const double factor = curve_value(config.batch_ramp, 1.0, step, config.steps);
  return std::max<int64_t>(1, std::llround(factor * double(config.batch_sequences)));
}

int64_t steps_of(int64_t sequences, const TrainConfig& config) {
  return (sequences + config.batch_sequences - 1) / config.batch_sequences;
}

int64_t total_sequences(const TrainConfig& config, int64_t first, int64_t last) {
  int64_t total = 0;
  for (int64_t step = first; step <= last;) {
    const int64_t batch = batch_sequences(config, step);
    int64_t end = last;  // of the segment: inside it the batch moves one way only, so equal batches stand together
    for (const auto& segment : config.batch_ramp) {
      if (double(step) > end_of(segment, config.steps)) continue;
      end = std::min(last, int64_t(end_of(segment, config.steps)));
      break;
    }
    int64_t same = step, stride = 1;  // the last step known to have this batch: strides that double, then halve
    const auto holds = [&](int64_t at) { return at <= end && batch_sequences(config, at) == batch; };
    for (; holds(same + stride); stride *= 2) same += stride;
    for (; stride > 0; stride /= 2) same += holds(same + stride) ? stride : 0;
    total += (same - step + 1) * batch;
    step = same + 1;
  }
  return total;
}

double mtp_weight(const TrainConfig& config, int64_t step) {
  return curve_value(config.mtp_weight.empty() ? default_mtp() : config.mtp_weight, 0.3, step, config.steps);
}

double bias_speed(const TrainConfig& config, int64_t step) {
  return double(step) <= config.bias_freeze * double(config.steps) ? config.bias_update_speed : 0.0;
}

}  // namespace hadal
