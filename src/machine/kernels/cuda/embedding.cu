// Rows by index, and the gradient of the lookup: a thread per column takes the rows in order, so repeated ids add up in
// the order of the rows.
#include "kernels/embedding.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kBlock)
    copy_rows(Lines<T> y, Lines<T> w, const int32_t* ids, int64_t rows, int64_t cols, bool scatter) {
  each_element(rows, cols,
               [&](int64_t r, int64_t c) { y.row(scatter ? ids[r] : r)[c] = w.row(scatter ? r : ids[r])[c]; });
}

template <class W, class Y>
__global__ void __launch_bounds__(kBlock)
    gather_elements(Lines<Y> y, Lines<W> w, const int32_t* ids, int64_t rows, int64_t cols, bool scatter) {
  each_element(rows, cols, [&](int64_t r, int64_t c) {
    put(y.row(scatter ? ids[r] : r) + c, value_of(w.row(scatter ? r : ids[r])[c]));
  });
}

template <class W, class Y>
__global__ void __launch_bounds__(kBlock)
    scatter_columns(Lines<W> dw, Lines<Y> dy, const int32_t* ids, int64_t rows, int64_t cols) {
  const int64_t c = block_index() * kBlock + thread_index();
  if (c >= cols) return;
  for (int64_t r = 0; r < rows; ++r) {
    W* to = dw.row(ids[r]) + c;
    put(to, value_of(*to) + value_of(dy.row(r)[c]));
  }
}

}  // namespace

void gather_rows(DeviceStream stream, const GatherRows& k) {
  if (k.w.dtype == DType::f8_e4m3)
    return launch(copy_rows<uint8_t>, over_elements("gather_rows", k.rows, k.cols, stream), lines<uint8_t>(k.y),
                  lines<uint8_t>(k.w), k.ids, k.rows, k.cols, k.scatter);
  visit(
      "gather_rows",
      [&](auto w, auto y) {
        using W = element<decltype(w)>;
        using Y = element<decltype(y)>;
        const Launch how = over_elements("gather_rows", k.rows, k.cols, stream);
        if constexpr (sizeof(W) == sizeof(Y)) {
          launch(copy_rows<W>, how, lines<W>(k.y), lines<W>(k.w), k.ids, k.rows, k.cols, k.scatter);
        } else {
          launch(gather_elements<W, Y>, how, lines<Y>(k.y), lines<W>(k.w), k.ids, k.rows, k.cols, k.scatter);
        }
      },
      k.w.dtype, k.y.dtype);
}

void scatter_add_rows(DeviceStream stream, const ScatterAddRows& k) {
  visit(
      "scatter_add_rows",
      [&](auto dw, auto dy) {
        using W = element<decltype(dw)>;
        using Y = element<decltype(dy)>;
        launch(scatter_columns<W, Y>,
               {.name = "scatter_add_rows", .blocks = (k.cols + kBlock - 1) / kBlock, .stream = stream}, lines<W>(k.dw),
               lines<Y>(k.dy), k.ids, k.rows, k.cols);
      },
      k.dw.dtype, k.dy.dtype);
}

}  // namespace hadal::kernels::cuda
