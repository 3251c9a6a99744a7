// Cross-entropy over logits whose columns lie apart: each holder makes the statistics of its part of every row, all of
// them are combined by whoever called, and each turns its part into its gradient (§2.4). No workspace.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

// Of row r: its largest logit, the sum of exp(logit - largest), the target's logit and 1 (0 and 0 where the target, -1,
// is no column of this part). keep: the exponentials stay in the row.
struct SoftmaxStatistics {
  Rows logits;                       // [rows, cols] f64 or f32
  const int32_t* targets = nullptr;  // [rows], -1 or a column
  void* statistics = nullptr;        // [rows, 4] f32 (f64)
  int64_t rows = 0, cols = 0;
  bool keep = false;
  Lane* lane = nullptr;
};

// Row r, of exponentials, times factors[r][0]; the target's column := factors[r][1]. Factor 0: a row of zeros.
struct SoftmaxGradient {
  Rows logits;                       // [rows, cols] f64 or f32
  const int32_t* targets = nullptr;  // [rows], -1 or a column
  const void* factors = nullptr;     // [rows, 2] f32 (f64)
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(softmax_statistics, SoftmaxStatistics)
HADAL_DECLARE_KERNEL(softmax_gradient, SoftmaxGradient)

}  // namespace hadal::kernels
