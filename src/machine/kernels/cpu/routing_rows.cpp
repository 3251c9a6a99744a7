// Rows to and from the experts' buffer: combine, its backward, and the backward of the gather. Slots are added in
// ascending order in FP32, then the sum is added to what was there.
#include "kernels/routing.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class X, class Y>
void combine_rows(const Combine& k, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    Y* y = k.y.row<Y>(t);
    const float* weights = k.weights.row<float>(t);
    const int32_t* position = k.position + t * k.top_k;
    each_vector(k.cols, [&](int64_t c, auto n) {
      V sum = zero();
      for (int64_t s = 0; s < k.top_k; ++s)
        sum = fma(broadcast(weights[s]), load_lanes(k.x.row<X>(position[s]) + c, n), sum);
      store_lanes(y + c, k.add ? add(load_lanes(y + c, n), sum) : sum, n);
    });
  }
}

template <class X, class DX, class DY>
void combine_backward_rows(const CombineBackward& k, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const DY* dy = k.dy.row<DY>(t);
    for (int64_t s = 0; s < k.top_k; ++s) {
      const int64_t r = k.position[t * k.top_k + s];
      const X* x = k.x.row<X>(r);
      DX* dx = k.dx.row<DX>(r);
      const V weight = broadcast(k.weights.row<float>(t)[s]);
      k.dweights.row<float>(t)[s] = sum_vectors(k.cols, [&](V a, int64_t c, auto n) {
        const V d = load_lanes(dy + c, n), dot = fma(d, load_lanes(x + c, n), a);
        store_lanes(dx + c, mul(weight, d), n);
        return dot;
      });
    }
  }
}

template <class From, class To>
void gather_backward_rows(const GatherBackward& k, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    To* dx = k.dx.row<To>(t);
    const int32_t* position = k.position + t * k.top_k;
    each_vector(k.cols, [&](int64_t c, auto n) {
      V sum = load_lanes(k.d_sorted.row<From>(position[0]) + c, n);
      for (int64_t s = 1; s < k.top_k; ++s) sum = add(sum, load_lanes(k.d_sorted.row<From>(position[s]) + c, n));
      store_lanes(dx + c, k.add ? add(load_lanes(dx + c, n), sum) : sum, n);
    });
  }
}

}  // namespace

void combine(const Combine& k) {
  visit_small(
      [&](auto x, auto y) {
        parallel_blocks(k.lane, k.tokens, rows_per_task(k.top_k * k.cols), [&](int64_t begin, int64_t end) {
          combine_rows<element<decltype(x)>, element<decltype(y)>>(k, begin, end);
        });
      },
      k.x.dtype, k.y.dtype);
}

void combine_backward(const CombineBackward& k) {
  visit_small(
      [&](auto x, auto dx, auto dy) {
        parallel_blocks(k.lane, k.tokens, rows_per_task(k.top_k * k.cols), [&](int64_t begin, int64_t end) {
          combine_backward_rows<element<decltype(x)>, element<decltype(dx)>, element<decltype(dy)>>(k, begin, end);
        });
      },
      k.x.dtype, k.dx.dtype, k.dy.dtype);
}

void gather_backward(const GatherBackward& k) {
  visit_small(
      [&](auto from, auto to) {
        parallel_blocks(k.lane, k.tokens, rows_per_task(k.top_k * k.cols), [&](int64_t begin, int64_t end) {
          gather_backward_rows<element<decltype(from)>, element<decltype(to)>>(k, begin, end);
        });
      },
      k.d_sorted.dtype, k.dx.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
