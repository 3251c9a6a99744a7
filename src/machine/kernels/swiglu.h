// SwiGLU (§1.2): h = silu(g) * u, silu(g) = g / (1 + exp(-g)).
// Backward: dg = dh u s (1 + g (1 - s)), du = dh g s, with s = 1 / (1 + exp(-g)).
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct Swiglu {
  Rows h, g, u;  // [rows, cols]; g and u in one format
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

struct SwigluBackward {
  Rows dg, du, dh, g, u;  // dg, du in one format, g and u in one format; dg, du may be g, u
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(swiglu, Swiglu)
HADAL_DECLARE_KERNEL(swiglu_backward, SwigluBackward)

}  // namespace hadal::kernels
