#include "kernels/gemm_panels.h"

#include <algorithm>

namespace hadal::kernels {
namespace {

// k from begin to end of one panel. T: a column's part of a word, kPer of them.
template <class T, int64_t kPer>
void pack_part(const PackPanels& p, int64_t first_col, int64_t begin, int64_t end) {
  const int64_t w = p.panel_cols, cols = std::min(w, p.n - first_col);
  const T* from = static_cast<const T*>(p.b) + first_col * p.b_col;
  T* to = static_cast<T*>(p.panels) + (first_col * ((p.k + kPer - 1) / kPer) + begin / kPer * w) * kPer;
  for (int64_t k = begin; k < end; k += kPer, to += w * kPer) {
    for (int64_t c = 0; c < w; ++c) {
      for (int64_t i = 0; i < kPer; ++i)
        to[c * kPer + i] = c < cols && k + i < p.k ? from[(k + i) * p.b_row + c * p.b_col] : T(0);
    }
  }
}

}  // namespace

void pack_panels(const PackPanels& p) {
  constexpr int64_t kDepth = 1024;  // of a task
  const int64_t panels = (p.n + p.panel_cols - 1) / p.panel_cols, parts = (p.k + kDepth - 1) / kDepth;
  p.lane->parallel_for(panels * parts, [&](int64_t task, int) {
    const int64_t first_col = task / parts * p.panel_cols, begin = task % parts * kDepth;
    const int64_t end = std::min(p.k, begin + kDepth);
    if (p.type == DType::bf16)
      pack_part<uint16_t, 2>(p, first_col, begin, end);
    else
      pack_part<uint32_t, 1>(p, first_col, begin, end);
  });
}

}  // namespace hadal::kernels
