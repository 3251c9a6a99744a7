// Rows by index: y[i] = w[ids[i]] (embedding lookup, gather into the experts' buffer) or y[ids[i]] = w[i] (into a
// cache), and the gradient of the lookup. FP8 codes are moved as they are, from codes to codes.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct GatherRows {
  Rows y, w;
  const int32_t* ids = nullptr;  // [rows]
  int64_t rows = 0, cols = 0;
  bool scatter = false;  // y[ids[i]] = w[i]: ids differ
  Lane* lane = nullptr;
};

// dw[ids[i]] += dy[i], i ascending: repeated ids add in row order. Threads split the columns.
struct ScatterAddRows {
  Rows dw, dy;
  const int32_t* ids = nullptr;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(gather_rows, GatherRows)
HADAL_DECLARE_KERNEL(scatter_add_rows, ScatterAddRows)

}  // namespace hadal::kernels
