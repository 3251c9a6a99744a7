// Rows to and from the experts' buffer (kernels/routing.h): combine and the backward of the gather, a thread per
// element. Slots are added in ascending order inside a routing group, groups in order, as in cpu/routing_rows.cpp.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"
#include "kernels/routing.h"

namespace hadal::kernels::cuda {
namespace {

struct Slots {
  const int32_t* experts;
  const int32_t* position;
  int64_t experts_per_group, top_k;
};

// The sum over groups of the rounded sums of their slots; next(s, sum) adds slot s to its group's sum.
template <class Wire, class Next>
__device__ float sum_of_groups(const Slots& slots, int64_t token, Next next) {
  const int32_t* experts = slots.experts + token * slots.top_k;
  float total = 0, sum = 0;
  bool first = true;
  for (int64_t s = 0; s < slots.top_k; ++s) {
    sum = next(s, sum);
    const bool ends =
        s + 1 == slots.top_k || experts[s] / slots.experts_per_group != experts[s + 1] / slots.experts_per_group;
    if (!ends) continue;
    const float group = rounded(sum, Wire());
    total = first ? group : total + group;
    first = false;
    sum = 0;
  }
  return total;
}

template <class X, class Y, class Wire>
__global__ void __launch_bounds__(kBlock) combine_elements(Lines<Y> y, Lines<X> x, Lines<float> weights, Slots slots,
                                                           int64_t tokens, int64_t cols, bool add) {
  each_element(tokens, cols, [&](int64_t t, int64_t c) {
    const int32_t* position = slots.position + t * slots.top_k;
    const float* w = weights.row(t);
    const float sum = sum_of_groups<Wire>(
        slots, t, [&](int64_t s, float group) { return fused(w[s], value_of(x.row(position[s])[c]), group); });
    Y* to = y.row(t) + c;
    put(to, add ? value_of(*to) + sum : sum);
  });
}

template <class From, class To, class Wire>
__global__ void __launch_bounds__(kBlock)
    gather_backward_elements(Lines<To> dx, Lines<From> d_sorted, Slots slots, int64_t tokens, int64_t cols, bool add) {
  each_element(tokens, cols, [&](int64_t t, int64_t c) {
    const int32_t* position = slots.position + t * slots.top_k;
    const float sum = sum_of_groups<Wire>(
        slots, t, [&](int64_t s, float group) { return group + value_of(d_sorted.row(position[s])[c]); });
    To* to = dx.row(t) + c;
    put(to, add ? value_of(*to) + sum : sum);
  });
}

}  // namespace

void combine(DeviceStream stream, const Combine& k) {
  const Slots slots{k.groups.experts, k.position, k.groups.experts_per_group, k.top_k};
  visit(
      "combine",
      [&](auto x, auto y, auto wire) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        launch(combine_elements<X, Y, element<decltype(wire)>>, over_elements("combine", k.tokens, k.cols, stream),
               lines<Y>(k.y), lines<X>(k.x), lines<float>(k.weights), slots, k.tokens, k.cols, k.add);
      },
      k.x.dtype, k.y.dtype, k.groups.wire);
}

void gather_backward(DeviceStream stream, const GatherBackward& k) {
  const Slots slots{k.groups.experts, k.position, k.groups.experts_per_group, k.top_k};
  visit(
      "gather_backward",
      [&](auto from, auto to, auto wire) {
        using From = element<decltype(from)>;
        using To = element<decltype(to)>;
        launch(gather_backward_elements<From, To, element<decltype(wire)>>,
               over_elements("gather_backward", k.tokens, k.cols, stream), lines<To>(k.dx), lines<From>(k.d_sorted),
               slots, k.tokens, k.cols, k.add);
      },
      k.d_sorted.dtype, k.dx.dtype, k.groups.wire);
}

}  // namespace hadal::kernels::cuda
