// SwiGLU and its backward, element by element.
#include "kernels/swiglu.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class G, class H>
__global__ void __launch_bounds__(kBlock)
    swiglu_elements(Lines<H> h, Lines<G> g, Lines<G> u, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) {
    const float gate = value_of(g.row(r)[c]);
    put(h.row(r) + c, gate / (1.0f + exponential(-gate)) * value_of(u.row(r)[c]));
  });
}

// dg and du may be g and u: an element is read whole before either is written.
template <class G, class H, class D>
__global__ void __launch_bounds__(kBlock) swiglu_backward_elements(Lines<D> dg, Lines<D> du, Lines<H> dh, Lines<G> g,
                                                                   Lines<G> u, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) {
    const float gate = value_of(g.row(r)[c]), up = value_of(u.row(r)[c]), d = value_of(dh.row(r)[c]);
    const float s = sigmoid(gate), slope = s * fused(gate, 1.0f - s, 1.0f);
    put(dg.row(r) + c, d * up * slope);
    put(du.row(r) + c, d * (gate * s));
  });
}

}  // namespace

void swiglu(DeviceStream stream, const Swiglu& k) {
  visit(
      "swiglu",
      [&](auto g, auto h) {
        using G = element<decltype(g)>;
        using H = element<decltype(h)>;
        launch(swiglu_elements<G, H>, over_elements("swiglu", k.rows, k.cols, stream), lines<H>(k.h), lines<G>(k.g),
               lines<G>(k.u), k.rows, k.cols);
      },
      k.g.dtype, k.h.dtype);
}

void swiglu_backward(DeviceStream stream, const SwigluBackward& k) {
  visit(
      "swiglu_backward",
      [&](auto g, auto dh, auto dg) {
        using G = element<decltype(g)>;
        using H = element<decltype(dh)>;
        using D = element<decltype(dg)>;
        launch(swiglu_backward_elements<G, H, D>, over_elements("swiglu_backward", k.rows, k.cols, stream),
               lines<D>(k.dg), lines<D>(k.du), lines<H>(k.dh), lines<G>(k.g), lines<G>(k.u), k.rows, k.cols);
      },
      k.g.dtype, k.dh.dtype, k.dg.dtype);
}

}  // namespace hadal::kernels::cuda
