// An axis of a chart: where a value lies on it, and the round numbers that are written beside it.
#pragma once
#include <cmath>
#include <string>
#include <vector>

namespace hadal {

struct Axis {
  double low = 0, high = 1;
  bool log = false;
  double place(double value) const {  // 0 .. 1
    if (log) return (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
    return (value - low) / (high - low);
  }
};

std::vector<double> ticks(const Axis& axis);  // 1, 2 or 5 times a power of ten, about five of them
std::string tick_text(double value);

}  // namespace hadal
