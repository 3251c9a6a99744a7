// Element by element: sums, scaling, conversion; and two reductions over everything, in an order that only the shape
// decides.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct AddRows {  // y = a + b; y may be a or b
  Rows y, a, b;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

struct ScaleRows {  // y = x * factor; y may be x. factor 1 copies and converts
  Rows y, x;
  double factor = 1;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

// The reductions cut the rows into at most this many parts; part sums are added in order. A long single row should be
// given as rows of 4096 elements (the op does that).
inline constexpr int64_t kReduceParts = 1024;

struct SumOfSquares {  // *result = sum of x^2 in FP64 (squares of f32 neither overflow nor vanish)
  Rows x;
  int64_t rows = 0, cols = 0;
  double* result = nullptr;
  Lane* lane = nullptr;
};

struct AllFinite {  // *result = no NaN and no infinity
  Rows x;
  int64_t rows = 0, cols = 0;
  bool* result = nullptr;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(add_rows, AddRows)
HADAL_DECLARE_KERNEL(scale_rows, ScaleRows)
HADAL_DECLARE_KERNEL(sum_of_squares, SumOfSquares)
HADAL_DECLARE_KERNEL(all_finite, AllFinite)

// Rows per part, so that at most kReduceParts parts of at least 4096 elements come out: a function of the shape alone.
static inline int64_t reduce_rows_per_part(int64_t rows, int64_t cols) {
  const int64_t by_count = (rows + kReduceParts - 1) / kReduceParts;
  const int64_t by_size = 4096 / (cols > 0 ? cols : 1);
  return by_count > by_size ? by_count : (by_size > 0 ? by_size : 1);
}

}  // namespace hadal::kernels
