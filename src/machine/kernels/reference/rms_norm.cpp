#include "kernels/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

template <class X, class Y>
void forward_row(const RmsNorm& k, int64_t r) {
  using A = accumulator<X>;
  const X* x = k.x.row<X>(r);
  Y* y = k.y.row<Y>(r);
  const A* w = static_cast<const A*>(k.w);
  A sum = 0;
  for (int64_t c = 0; c < k.cols; ++c) sum += get(x[c]) * get(x[c]);
  const A rstd = A(1) / std::sqrt(sum / A(k.cols) + A(k.eps));
  static_cast<A*>(k.rstd)[r] = rstd;
  for (int64_t c = 0; c < k.cols; ++c) y[c] = Y(get(x[c]) * rstd * w[c]);
}

template <class DX, class DY, class X>
void backward_row(const RmsNormBackwardInput& k, int64_t r) {
  using A = accumulator<X>;
  const X* x = k.x.row<X>(r);
  const DY* dy = k.dy.row<DY>(r);
  DX* dx = k.dx.row<DX>(r);
  const A* w = static_cast<const A*>(k.w);
  const A rstd = static_cast<const A*>(k.rstd)[r];
  A dot = 0;
  for (int64_t c = 0; c < k.cols; ++c) dot += w[c] * get(dy[c]) * get(x[c]);
  const A pull = dot / A(k.cols) * rstd * rstd;
  for (int64_t c = 0; c < k.cols; ++c) {
    const A d = rstd * (w[c] * get(dy[c]) - get(x[c]) * pull);
    dx[c] = DX(k.add ? get(dx[c]) + d : d);
  }
}

template <class DY, class X>
void weight_columns(const RmsNormBackwardWeight& k, int64_t begin, int64_t end) {
  using A = accumulator<X>;
  A* dw = static_cast<A*>(k.dw);
  const A* rstd = static_cast<const A*>(k.rstd);
  for (int64_t c = begin; c < end; ++c) {
    A total = 0;
    for (int64_t chunk = 0; chunk < k.rows; chunk += kRowChunk) {
      A sum = 0;
      for (int64_t r = chunk; r < std::min(chunk + kRowChunk, k.rows); ++r)
        sum += get(k.dy.row<DY>(r)[c]) * (get(k.x.row<X>(r)[c]) * rstd[r]);
      total += sum;
    }
    dw[c] += total;
  }
}

}  // namespace

void rms_norm(const RmsNorm& k) {
  visit_numbers(
      [&](auto x, auto y) {
        each_row(k.lane, k.rows, k.cols,
                 [&](int64_t r) { forward_row<element<decltype(x)>, element<decltype(y)>>(k, r); });
      },
      k.x.dtype, k.y.dtype);
}

void rms_norm_backward_input(const RmsNormBackwardInput& k) {
  visit_numbers(
      [&](auto x, auto dy, auto dx) {
        each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
          backward_row<element<decltype(dx)>, element<decltype(dy)>, element<decltype(x)>>(k, r);
        });
      },
      k.x.dtype, k.dy.dtype, k.dx.dtype);
}

void rms_norm_backward_weight(const RmsNormBackwardWeight& k) {
  visit_numbers(
      [&](auto x, auto dy) {
        parallel_blocks(k.lane, k.cols, cols_per_task(k.cols, k.lane), [&](int64_t begin, int64_t end) {
          weight_columns<element<decltype(dy)>, element<decltype(x)>>(k, begin, end);
        });
      },
      k.x.dtype, k.dy.dtype);
}

}  // namespace hadal::kernels::reference
