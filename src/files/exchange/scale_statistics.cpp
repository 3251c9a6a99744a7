#include "exchange/scale_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hadal {

namespace {

bool power_of_two(double value) {
  int exponent = 0;
  return std::frexp(value, &exponent) == 0.5;
}

}  // namespace

ScaleStatistics scale_statistics(const TensorFiles& files) {
  ScaleStatistics all;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const std::string& name : files.names()) {
    if (!name.ends_with("_scale_inv")) continue;
    const Tensor scales = files.tensor(name);
    all.tensors += 1;
    for (int64_t i = 0; i < scales.count(); ++i) {
      const double value = element(scales, i);
      all.scales += 1;
      if (std::isnan(value)) {
        all.nan += 1;
      } else if (std::isinf(value)) {
        all.infinite += 1;
      } else {
        all.zeros += value == 0 ? 1 : 0;
        all.negative += value < 0 ? 1 : 0;
        all.not_powers_of_two += power_of_two(value) ? 0 : 1;
        low = std::min(low, value), high = std::max(high, value);
      }
    }
  }
  files.check_intact();
  if (low <= high) all.min = low, all.max = high;
  return all;
}

}  // namespace hadal
