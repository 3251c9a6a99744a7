// Element by element: sums, scaling, conversion; and two reductions over everything, in an order that only the shape
// decides.
#pragma once
#include "base/exact_sum.h"
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

// *result += x^2 over all elements, squares in FP64 (those of f32 neither overflow nor vanish). A row is cut into lines
// of kSquaresLine columns from its first; the sum of a line is rounded in a fixed pattern, sums of lines are added
// exactly. So the result is the same for any division of a tensor between threads or ranks that cuts no line.
inline constexpr int64_t kSquaresLine = 128;

struct SumOfSquares {
  Rows x;
  int64_t rows = 0, cols = 0;
  ExactSum* result = nullptr;
  ExactSum* workers = nullptr;  // [threads of the pool], zero
  Lane* lane = nullptr;
};

struct AllFinite {  // *result = no NaN and no infinity
  Rows x;
  int64_t rows = 0, cols = 0;
  bool* result = nullptr;
  Lane* lane = nullptr;
};

// y = y + by, added in FP64 and rounded once. Few numbers: the formula serves every instruction set.
struct Shift {
  void* y = nullptr;           // [count] f32 or f64
  const double* by = nullptr;  // [count]
  int64_t count = 0;
  DType dtype = DType::f32;
};
HADAL_DECLARE_FORMULA(shift, Shift)

HADAL_DECLARE_KERNEL(add_rows, AddRows)
HADAL_DECLARE_KERNEL(scale_rows, ScaleRows)
HADAL_DECLARE_KERNEL(sum_of_squares, SumOfSquares)
HADAL_DECLARE_KERNEL(all_finite, AllFinite)

}  // namespace hadal::kernels
