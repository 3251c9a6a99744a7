// ExactSum: a sum of doubles without rounding, so that the order of adding, and how the numbers are dealt out to
// threads or ranks, cannot change it. value() is rounded once, at the end. Costs a few nanoseconds a number: sums of
// lines, not of elements, are handed to it. Partial sums of ranks are joined by adding limbs, which are integers.
#pragma once
#include <array>
#include <cstdint>

namespace hadal {

class ExactSum {
 public:
  void add(double x);  // at most 2^30 numbers (merged ones counted in) may go into one sum
  void merge(const ExactSum& other);
  double value() const;  // nearest double; inf or NaN as soon as one was added

  // The sum is sum_i limbs[i] * 2^(32 i - 1074): limb 0 begins at the smallest subnormal. In memory 64-bit limbs come
  // first, then what is not finite: a device adds there.
  static constexpr int kLimbs = 68;

 private:
  std::array<int64_t, kLimbs> limbs_{};
  double not_finite_ = 0;  // infinities and NaN, summed as they come
};

}  // namespace hadal
