#include "picture/axis.h"

#include <fmt/format.h>

namespace hadal {

std::vector<double> ticks(const Axis& axis) {
  std::vector<double> values;
  if (axis.log) {
    for (double decade = std::pow(10, std::floor(std::log10(axis.low))); decade <= axis.high * 1.0001; decade *= 10) {
      for (double factor : {1.0, 2.0, 5.0}) {
        if (decade * factor >= axis.low * 0.9999 && decade * factor <= axis.high * 1.0001)
          values.push_back(decade * factor);
      }
    }
    return values;
  }
  const double rough = (axis.high - axis.low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
  const double step = rough / power < 1.5   ? power
                      : rough / power < 3.5 ? 2 * power
                      : rough / power < 7.5 ? 5 * power
                                            : 10 * power;
  for (double value = std::ceil(axis.low / step) * step; value <= axis.high + step * 1e-6; value += step)
    values.push_back(std::abs(value) < step * 1e-6 ? 0 : value);
  return values;
}

std::string tick_text(double value) {
  if (value != 0 && (std::abs(value) >= 1e5 || std::abs(value) < 1e-3)) return fmt::format("{:.0e}", value);
  return fmt::format("{:.4g}", value);
}

}  // namespace hadal
