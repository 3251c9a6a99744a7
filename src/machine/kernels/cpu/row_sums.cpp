// The two halves of combine (routing_rows.cpp), whose order of additions and roundings they keep.
#include "kernels/row_sums.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class X, class Y>
void sum_rows(const GroupSums& k, int64_t begin, int64_t end) {
  const float* weights = static_cast<const float*>(k.weights);
  for (int64_t i = begin; i < end; ++i) {
    Y* y = k.y.row<Y>(i);
    each_vector(k.cols, [&](int64_t c, auto n) {
      V sum = zero();
      for (int32_t j = k.begin[i]; j < k.begin[i + 1]; ++j) {
        const V x = load_lanes(k.x.row<X>(k.index + 2 * j) + c, n);
        sum = weights ? fma(broadcast(weights[j]), x, sum) : add(sum, x);
      }
      store_exact(y + c, rounded(sum, Y()), n);
    });
  }
}

template <class X, class Y>
void total_rows(const GroupTotals& k, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    Y* y = k.y.row<Y>(i);
    const int32_t first = k.begin[i], behind = k.begin[i + 1];
    each_vector(k.cols, [&](int64_t c, auto n) {
      V total = load_lanes(k.x.row<X>(k.index + 2 * first) + c, n);
      for (int32_t j = first + 1; j < behind; ++j) total = add(total, load_lanes(k.x.row<X>(k.index + 2 * j) + c, n));
      store_lanes(y + c, k.add ? add(load_lanes(y + c, n), total) : total, n);
    });
  }
}

}  // namespace

void group_sums(const GroupSums& k) {
  visit_small(
      [&](auto x, auto y) {
        parallel_blocks(k.lane, k.n, rows_per_task(2 * k.cols), [&](int64_t begin, int64_t end) {
          sum_rows<element<decltype(x)>, element<decltype(y)>>(k, begin, end);
        });
      },
      k.x.of->dtype, k.y.dtype);
}

void group_totals(const GroupTotals& k) {
  visit_small(
      [&](auto x, auto y) {
        parallel_blocks(k.lane, k.n, rows_per_task(4 * k.cols), [&](int64_t begin, int64_t end) {
          total_rows<element<decltype(x)>, element<decltype(y)>>(k, begin, end);
        });
      },
      k.x.of->dtype, k.y.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
