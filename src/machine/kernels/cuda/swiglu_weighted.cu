// SwiGLU's backward inside a weighted expert: a warp per row, one pass.
#include "kernels/swiglu_weighted.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kBlock) weighted_rows(Lines<T> dh, Lines<T> g, Lines<T> u, const float* weights,
                                                        float* dweights, int64_t rows, int64_t cols) {
  const int64_t r = row_of_warp();
  if (r >= rows) return;
  T *gates = g.row(r), *ups = u.row(r), *ds = dh.row(r);
  const float weight = weights ? weights[r] : 1.0f;
  const float dot = sum_row(cols, [&](float sum, int64_t c) {
    const float gate = value_of(gates[c]), up = value_of(ups[c]), d = value_of(ds[c]), s = sigmoid(gate);
    const float silu = gate * s, h = silu * up, weighted_d = weight * d;
    put(gates + c, weighted_d * up * (s * fused(gate, 1.0f - s, 1.0f)));
    put(ups + c, weighted_d * silu);
    put(ds + c, weight * h);
    return fused(d, h, sum);
  });
  if (weights && lane_index() == 0) dweights[r] = dot;
}

}  // namespace

void swiglu_weighted_backward(DeviceStream stream, const SwigluWeighted& k) {
  visit(
      "swiglu_weighted_backward",
      [&](auto g) {
        using T = element<decltype(g)>;
        launch(weighted_rows<T>, over_rows("swiglu_weighted_backward", k.rows, stream), lines<T>(k.dh), lines<T>(k.g),
               lines<T>(k.u), static_cast<const float*>(k.weight), static_cast<float*>(k.dweight), k.rows, k.cols);
      },
      k.g.dtype);
}

}  // namespace hadal::kernels::cuda
