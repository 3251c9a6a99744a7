// RMSNorm: a warp per row; the weight's gradient, a thread per column in chunks of rows.
#include "kernels/rms_norm.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class X, class Y>
__global__ void __launch_bounds__(kBlock)
    norm_rows(Lines<Y> y, Lines<X> x, const float* w, float* rstd, int64_t rows, int64_t cols, float eps) {
  const int64_t r = row_of_warp();
  if (r >= rows) return;
  const X* from = x.row(r);
  const float sum = sum_row(cols, [&](float a, int64_t c) {
    const float v = value_of(from[c]);
    return fused(v, v, a);
  });
  const float factor = 1.0f / square_root(sum / float(cols) + eps);
  if (lane_index() == 0) rstd[r] = factor;
  Y* to = y.row(r);
  each_column(cols, [&](int64_t c) { put(to + c, value_of(from[c]) * factor * w[c]); });
}

template <class X, class DY, class DX>
__global__ void __launch_bounds__(kBlock) norm_backward_rows(Lines<DX> dx, Lines<DY> dy, Lines<X> x, const float* w,
                                                             const float* rstd, int64_t rows, int64_t cols, bool add) {
  const int64_t r = row_of_warp();
  if (r >= rows) return;
  const X* in = x.row(r);
  const DY* from = dy.row(r);
  const float dot =
      sum_row(cols, [&](float a, int64_t c) { return fused(w[c] * value_of(from[c]), value_of(in[c]), a); });
  const float factor = rstd[r], pull = dot / float(cols) * factor * factor;
  DX* to = dx.row(r);
  each_column(cols, [&](int64_t c) {
    const float gradient = factor * fused(-value_of(in[c]), pull, w[c] * value_of(from[c]));
    put(to + c, add ? value_of(to[c]) + gradient : gradient);
  });
}

template <class X, class DY>
__global__ void __launch_bounds__(kBlock)
    norm_backward_columns(float* dw, Lines<DY> dy, Lines<X> x, const float* rstd, int64_t rows, int64_t cols) {
  const int64_t c = block_index() * kBlock + thread_index();
  if (c >= cols) return;
  float total = 0;
  for (int64_t chunk = 0; chunk < rows; chunk += kRowChunk) {
    const int64_t stop = chunk + kRowChunk < rows ? chunk + kRowChunk : rows;
    float sum = 0;
    for (int64_t r = chunk; r < stop; ++r) sum = fused(value_of(dy.row(r)[c]), value_of(x.row(r)[c]) * rstd[r], sum);
    total += sum;
  }
  dw[c] += total;
}

}  // namespace

void rms_norm(DeviceStream stream, const RmsNorm& k) {
  visit(
      "rms_norm",
      [&](auto x, auto y) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        launch(norm_rows<X, Y>, over_rows("rms_norm", k.rows, stream), lines<Y>(k.y), lines<X>(k.x),
               static_cast<const float*>(k.w), static_cast<float*>(k.rstd), k.rows, k.cols, float(k.eps));
      },
      k.x.dtype, k.y.dtype);
}

void rms_norm_backward_input(DeviceStream stream, const RmsNormBackwardInput& k) {
  visit(
      "rms_norm_backward_input",
      [&](auto x, auto dy, auto dx) {
        using X = element<decltype(x)>;
        using DY = element<decltype(dy)>;
        using DX = element<decltype(dx)>;
        launch(norm_backward_rows<X, DY, DX>, over_rows("rms_norm_backward_input", k.rows, stream), lines<DX>(k.dx),
               lines<DY>(k.dy), lines<X>(k.x), static_cast<const float*>(k.w), static_cast<const float*>(k.rstd),
               k.rows, k.cols, k.add);
      },
      k.x.dtype, k.dy.dtype, k.dx.dtype);
}

void rms_norm_backward_weight(DeviceStream stream, const RmsNormBackwardWeight& k) {
  visit(
      "rms_norm_backward_weight",
      [&](auto x, auto dy) {
        using X = element<decltype(x)>;
        using DY = element<decltype(dy)>;
        launch(norm_backward_columns<X, DY>,
               {.name = "rms_norm_backward_weight", .blocks = (k.cols + kBlock - 1) / kBlock, .stream = stream},
               static_cast<float*>(k.dw), lines<DY>(k.dy), lines<X>(k.x), static_cast<const float*>(k.rstd), k.rows,
               k.cols);
      },
      k.x.dtype, k.dy.dtype);
}

}  // namespace hadal::kernels::cuda
