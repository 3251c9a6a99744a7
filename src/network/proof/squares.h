// Sums of squares of a difference and of what it is held against.
#pragma once
#include <cmath>

namespace hadal {

struct Squares {
  double off = 0, size = 0;
  void take(double value, double reference) {
    off += (value - reference) * (value - reference), size += reference * reference;
  }
  void add(const Squares& other) { off += other.off, size += other.size; }
  double error() const { return size > 0 ? std::sqrt(off / size) : 0; }
};

}  // namespace hadal
