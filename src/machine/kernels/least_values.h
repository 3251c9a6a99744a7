// The smallest values of many linear functions over one set of numbers, modulo 2^64: what MinHash asks of a document.
// Whole numbers: every instruction set has the same bits.
#pragma once
#include "kernels/dispatch.h"

namespace hadal::kernels {

// least[i] = min over 0 <= j < n of factors[i] * x[j] + offsets[i]; all bits set where n is 0.
struct LeastValues {
  const uint64_t* x = nullptr;  // [n]
  int64_t n = 0;
  const uint64_t *factors = nullptr, *offsets = nullptr;  // [functions]
  int64_t functions = 0;
  uint64_t* least = nullptr;  // [functions]
};

HADAL_DECLARE_HOST_KERNEL(least_values, LeastValues)

}  // namespace hadal::kernels
