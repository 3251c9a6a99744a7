#include "kernels/embedding.h"

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {

void gather_rows(const GatherRows& k) {
  const auto copy = [&](auto w, auto y) {
    using W = element<decltype(w)>;
    using Y = element<decltype(y)>;
    each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
      const W* from = k.w.row<W>(k.scatter ? r : k.ids[r]);
      Y* to = k.y.row<Y>(k.scatter ? k.ids[r] : r);
      for (int64_t c = 0; c < k.cols; ++c) to[c] = Y(get(from[c]));
    });
  };
  if (k.w.dtype == DType::f8_e4m3) return copy(Tag<uint8_t>{}, Tag<uint8_t>{});
  visit_numbers(copy, k.w.dtype, k.y.dtype);
}

void scatter_add_rows(const ScatterAddRows& k) {
  visit_numbers(
      [&](auto dy, auto dw) {
        using Y = element<decltype(dy)>;
        using W = element<decltype(dw)>;
        parallel_blocks(k.lane, k.cols, cols_per_task(k.cols, k.lane), [&](int64_t begin, int64_t end) {
          for (int64_t r = 0; r < k.rows; ++r)
            for (int64_t c = begin; c < end; ++c)
              k.dw.row<W>(k.ids[r])[c] = W(get(k.dw.row<W>(k.ids[r])[c]) + get(k.dy.row<Y>(r)[c]));
        });
      },
      k.dy.dtype, k.dw.dtype);
}

}  // namespace hadal::kernels::reference
