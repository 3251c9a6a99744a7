// One vector pass per row; the dot product's lanes depend on the row's length alone.
#include "kernels/swiglu_weighted.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class T>
void backward_rows(const SwigluWeighted& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    T *g = k.g.row<T>(r), *u = k.u.row<T>(r), *dh = k.dh.row<T>(r);
    const float* weights = static_cast<const float*>(k.weight);
    const V weight = broadcast(weights ? weights[r] : 1.0f), one = broadcast(1.0f);
    const float dot = sum_vectors(k.cols, [&](V sum, int64_t c, auto n) {
      const V gate = load_lanes(g + c, n), up = load_lanes(u + c, n), d = load_lanes(dh + c, n), s = sigmoid(gate);
      const V silu = mul(gate, s), h = mul(silu, up), weighted_d = mul(weight, d);
      store_lanes(g + c, mul(mul(weighted_d, up), mul(s, fma(gate, sub(one, s), one))), n);
      store_lanes(u + c, mul(weighted_d, silu), n);
      store_lanes(dh + c, mul(weight, h), n);
      return fma(d, h, sum);
    });
    if (weights) static_cast<float*>(k.dweight)[r] = dot;
  }
}

}  // namespace

void swiglu_weighted_backward(const SwigluWeighted& k) {
  visit_small(
      [&](auto g) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols),
                        [&](int64_t begin, int64_t end) { backward_rows<element<decltype(g)>>(k, begin, end); });
      },
      k.g.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
