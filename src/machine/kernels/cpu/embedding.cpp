#include "kernels/embedding.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class W, class Y>
void copy_rows(const GatherRows& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const W* from = k.w.row<W>(k.scatter ? r : k.ids[r]);
    Y* to = k.y.row<Y>(k.scatter ? k.ids[r] : r);
    if constexpr (sizeof(W) == sizeof(Y))
      __builtin_memcpy(to, from, size_t(k.cols) * sizeof(W));
    else
      each_vector(k.cols, [&](int64_t c, auto n) { store_lanes(to + c, load_lanes(from + c, n), n); });
  }
}

template <class Y, class W>
void add_columns(const ScatterAddRows& k, int64_t begin, int64_t end) {
  for (int64_t r = 0; r < k.rows; ++r) {
    const Y* from = k.dy.row<Y>(r) + begin;
    W* to = k.dw.row<W>(k.ids[r]) + begin;
    each_vector(end - begin, [&](int64_t c, auto n) {
      store_lanes(to + c, add(load_lanes(to + c, n), load_lanes(from + c, n)), n);
    });
  }
}

}  // namespace

void gather_rows(const GatherRows& k) {
  const auto copy = [&](auto w, auto y) {
    parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
      copy_rows<element<decltype(w)>, element<decltype(y)>>(k, begin, end);
    });
  };
  if (k.w.dtype == DType::f8_e4m3) return copy(Tag<uint8_t>{}, Tag<uint8_t>{});
  visit_small(copy, k.w.dtype, k.y.dtype);
}

void scatter_add_rows(const ScatterAddRows& k) {
  visit_small(
      [&](auto dy, auto dw) {
        parallel_blocks(k.lane, k.cols, cols_per_task(k.cols, k.lane), [&](int64_t begin, int64_t end) {
          add_columns<element<decltype(dy)>, element<decltype(dw)>>(k, begin, end);
        });
      },
      k.dy.dtype, k.dw.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
