// SwiGLU's backward inside a weighted expert (§1.5): a row's output is w * W_down h with h = silu(g) * u, its weight w
// from the router. Given dh = dy W_down (dy not yet weighted), one pass over a row makes everything that the backward
// needs:
//   dweights = dh . h;  dg, du = SwiGLU's backward of w dh;  dh := w h, the operand of W_down's weight gradient.
// So neither h nor the experts' outputs are kept from the forward. Without weights w = 1: the backward of a plain
// SwiGLU.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct SwigluWeighted {
  Rows dh, g, u;                 // [rows, cols], one format; overwritten by w h, dg, du
  const void* weight = nullptr;  // [rows] f32 (f64), null: no weights
  void* dweight = nullptr;       // [rows]
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(swiglu_weighted_backward, SwigluWeighted)

}  // namespace hadal::kernels
