// The rotary embedding, a thread per pair. Its table is computed on the host, in FP64, and uploaded.
#include "kernels/rope.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

struct Heads {
  int64_t n, stride, pairs;
};
struct Angles {
  const float* table;
  const int32_t* positions;
  int64_t stride;
};

template <class X, bool kInverse>
__global__ void __launch_bounds__(kBlock) rotate_pairs(Lines<X> x, Heads heads, Angles angles, int64_t rows) {
  each_element(rows, heads.n * heads.pairs, [&](int64_t r, int64_t i) {
    const int64_t head = i / heads.pairs, pair = i - head * heads.pairs;
    const float* angle = angles.table + angles.positions[r] * angles.stride + 2 * pair;
    const float cosine = angle[0], sine = angle[1];
    X* at = x.row(r) + head * heads.stride + 2 * pair;
    const float even = value_of(at[0]), odd = value_of(at[1]);
    const float crossed_even = odd * sine, crossed_odd = even * sine;
    put(at, fused(even, cosine, kInverse ? crossed_even : -crossed_even));
    put(at + 1, fused(odd, cosine, kInverse ? -crossed_odd : crossed_odd));
  });
}

}  // namespace

void rope(DeviceStream stream, const Rope& k) {
  const Heads heads{k.n_heads, k.head_stride, k.d_rope / 2};
  const Angles angles{static_cast<const float*>(k.table), k.positions, k.table_stride};
  visit(
      "rope",
      [&](auto x) {
        using X = element<decltype(x)>;
        launch(k.inverse ? rotate_pairs<X, true> : rotate_pairs<X, false>,
               over_elements("rope", k.rows, heads.n * heads.pairs, stream), lines<X>(k.x), heads, angles, k.rows);
      },
      k.x.dtype);
}

}  // namespace hadal::kernels::cuda
