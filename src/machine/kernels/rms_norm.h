// RMSNorm (§1.2): y = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps) per row. w and rstd are f32 (f64 with f64 rows).
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct RmsNorm {
  Rows y, x;                // [rows, cols]
  const void* w = nullptr;  // [cols]
  void* rstd = nullptr;     // [rows], written
  int64_t rows = 0, cols = 0;
  double eps = 0;
  Lane* lane = nullptr;
};

// dx = rstd * (w dy - x * rstd^2 * mean(w dy x)), added to dx if add
struct RmsNormBackwardInput {
  Rows dx, dy, x;
  const void* w = nullptr;
  const void* rstd = nullptr;
  int64_t rows = 0, cols = 0;
  bool add = false;
  Lane* lane = nullptr;
};

// dw[c] += sum over rows of dy * x * rstd, in chunks of kRowChunk rows
struct RmsNormBackwardWeight {
  void* dw = nullptr;  // f32 (f64)
  Rows dy, x;
  const void* rstd = nullptr;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(rms_norm, RmsNorm)
HADAL_DECLARE_KERNEL(rms_norm_backward_input, RmsNormBackwardInput)
HADAL_DECLARE_KERNEL(rms_norm_backward_weight, RmsNormBackwardWeight)

}  // namespace hadal::kernels
