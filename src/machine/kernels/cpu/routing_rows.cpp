// Rows to and from the experts' buffer: combine, and the backward of the gather. Slots are added in
// ascending order in FP32 inside a routing group, a group's sum is rounded to the wire type, groups are added in order,
// then the sum is added to what was there.
#include "kernels/routing.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// Whether slot s is the last of its group, for all slots of token t.
HADAL_INLINE void mark_group_ends(const SlotGroups& groups, int64_t t, int64_t top_k, bool* ends) {
  const int32_t* experts = groups.experts + t * top_k;
  for (int64_t s = 0; s + 1 < top_k; ++s)
    ends[s] = experts[s] / groups.experts_per_group != experts[s + 1] / groups.experts_per_group;
  ends[top_k - 1] = true;
}

// The sum over groups of the rounded sums of their slots; next(s, sum) adds slot s to its group's sum.
template <class Wire, class Next>
HADAL_INLINE V sum_of_groups(const bool* ends, int64_t top_k, Next next) {
  V total, sum = zero();
  bool first = true;
  for (int64_t s = 0; s < top_k; ++s) {
    sum = next(s, sum);
    if (!ends[s]) continue;
    const V group = rounded(sum, Wire());
    total = first ? group : add(total, group);
    first = false;
    sum = zero();
  }
  return total;
}

template <class X, class Y, class Wire>
void combine_rows(const Combine& k, int64_t begin, int64_t end) {
  bool ends[kMaxExperts];
  for (int64_t t = begin; t < end; ++t) {
    Y* y = k.y.row<Y>(t);
    const float* weights = k.weights.row<float>(t);
    const int32_t* position = k.position + t * k.top_k;
    mark_group_ends(k.groups, t, k.top_k, ends);
    each_vector(k.cols, [&](int64_t c, auto n) {
      const V sum = sum_of_groups<Wire>(ends, k.top_k, [&](int64_t s, V group) {
        return fma(broadcast(weights[s]), load_lanes(k.x.row<X>(position[s]) + c, n), group);
      });
      store_lanes(y + c, k.add ? add(load_lanes(y + c, n), sum) : sum, n);
    });
  }
}

template <class From, class To, class Wire>
void gather_backward_rows(const GatherBackward& k, int64_t begin, int64_t end) {
  bool ends[kMaxExperts];
  for (int64_t t = begin; t < end; ++t) {
    To* dx = k.dx.row<To>(t);
    const int32_t* position = k.position + t * k.top_k;
    mark_group_ends(k.groups, t, k.top_k, ends);
    each_vector(k.cols, [&](int64_t c, auto n) {
      const V sum = sum_of_groups<Wire>(ends, k.top_k, [&](int64_t s, V group) {
        return add(group, load_lanes(k.d_sorted.row<From>(position[s]) + c, n));
      });
      store_lanes(dx + c, k.add ? add(load_lanes(dx + c, n), sum) : sum, n);
    });
  }
}

}  // namespace

void combine(const Combine& k) {
  visit_small(
      [&](auto x, auto y, auto wire) {
        parallel_blocks(k.lane, k.tokens, rows_per_task(k.top_k * k.cols), [&](int64_t begin, int64_t end) {
          combine_rows<element<decltype(x)>, element<decltype(y)>, element<decltype(wire)>>(k, begin, end);
        });
      },
      k.x.dtype, k.y.dtype, k.groups.wire);
}

void gather_backward(const GatherBackward& k) {
  visit_small(
      [&](auto from, auto to, auto wire) {
        parallel_blocks(k.lane, k.tokens, rows_per_task(k.top_k * k.cols), [&](int64_t begin, int64_t end) {
          gather_backward_rows<element<decltype(from)>, element<decltype(to)>, element<decltype(wire)>>(k, begin, end);
        });
      },
      k.d_sorted.dtype, k.dx.dtype, k.groups.wire);
}

}  // namespace hadal::kernels::HADAL_ISA
