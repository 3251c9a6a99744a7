// What rounding to codes does to one operand of a product: how far off its values are, how many of them are flushed to
// zero, saturated or subnormal, how far apart the largest and the smallest tile lie, and how far below its tile's
// largest each value is. E4M3 has 17.8 binades below its largest code; the last three are subnormal.
#pragma once
#include <array>
#include <cstdint>

#include "proof/squares.h"
#include "tensor/quantised.h"

namespace hadal {

struct OperandStats : Squares {        // of the values against what their codes stand for
  static constexpr int kBuckets = 32;  // by -log2(|x| / amax of its tile), rounded down; the last holds all below
  int64_t count = 0, nonzero = 0;
  int64_t flushed = 0;     // not zero, and its code is
  int64_t saturated = 0;   // its code is the largest and falls short of it by more than rounding does
  int64_t subnormal = 0;   // its code is subnormal
  int64_t not_finite = 0;  // NaN or infinite, left out of all others
  float largest_tile = 0, smallest_tile = 0;  // maxima of tiles that are not all zero
  std::array<int64_t, kBuckets> histogram{};

  void merge(const OperandStats& other);
  double share(int64_t n) const { return nonzero > 0 ? double(n) / double(nonzero) : 0; }
  double binades() const;  // log2(largest tile / smallest)
};

// values [rows, cols] beside their E4M3 codes.
OperandStats operand_stats(const Exec& exec, const Tensor& values, const Quantised& codes);

}  // namespace hadal
