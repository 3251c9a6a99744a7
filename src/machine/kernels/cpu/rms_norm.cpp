#include "kernels/rms_norm.h"

#include <math.h>

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class X, class Y>
void forward_rows(const RmsNorm& k, int64_t begin, int64_t end) {
  const float* w = static_cast<const float*>(k.w);
  for (int64_t r = begin; r < end; ++r) {
    const X* x = k.x.row<X>(r);
    Y* y = k.y.row<Y>(r);
    const float sum = sum_vectors(k.cols, [&](V a, int64_t c, auto n) {
      const V v = load_lanes(x + c, n);
      return fma(v, v, a);
    });
    const float rstd = 1.0f / ::sqrtf(sum / float(k.cols) + float(k.eps));
    static_cast<float*>(k.rstd)[r] = rstd;
    const V factor = broadcast(rstd);
    each_vector(k.cols, [&](int64_t c, auto n) {
      store_lanes(y + c, mul(mul(load_lanes(x + c, n), factor), load_lanes(w + c, n)), n);
    });
  }
}

template <class X, class DY, class DX>
void backward_rows(const RmsNormBackwardInput& k, int64_t begin, int64_t end) {
  const float* w = static_cast<const float*>(k.w);
  for (int64_t r = begin; r < end; ++r) {
    const X* x = k.x.row<X>(r);
    const DY* dy = k.dy.row<DY>(r);
    DX* dx = k.dx.row<DX>(r);
    const float dot = sum_vectors(k.cols, [&](V a, int64_t c, auto n) {
      return fma(mul(load_lanes(w + c, n), load_lanes(dy + c, n)), load_lanes(x + c, n), a);
    });
    const float rstd = static_cast<const float*>(k.rstd)[r];
    const V factor = broadcast(rstd), pull = broadcast(dot / float(k.cols) * rstd * rstd);
    const auto gradient = [&](int64_t c, auto n) {
      const V wdy = mul(load_lanes(w + c, n), load_lanes(dy + c, n));
      return mul(factor, nfma(load_lanes(x + c, n), pull, wdy));
    };
    if (k.add) {
      each_vector(k.cols,
                  [&](int64_t c, auto n) { store_lanes(dx + c, add(load_lanes(dx + c, n), gradient(c, n)), n); });
    } else {
      each_vector(k.cols, [&](int64_t c, auto n) { store_lanes(dx + c, gradient(c, n), n); });
    }
  }
}

// kVectors vectors of columns from c, down all rows.
template <class X, class DY, int kVectors, class Lanes>
HADAL_INLINE void weight_columns(const RmsNormBackwardWeight& k, int64_t c, Lanes n) {
  const float* rstd = static_cast<const float*>(k.rstd);
  V total[kVectors];
  for (int i = 0; i < kVectors; ++i) total[i] = zero();
  for (int64_t chunk = 0; chunk < k.rows; chunk += kRowChunk) {
    const int64_t stop = chunk + kRowChunk < k.rows ? chunk + kRowChunk : k.rows;
    V sum[kVectors];
    for (int i = 0; i < kVectors; ++i) sum[i] = zero();
    for (int64_t r = chunk; r < stop; ++r) {
      const X* x = k.x.row<X>(r) + c;
      const DY* dy = k.dy.row<DY>(r) + c;
      const V factor = broadcast(rstd[r]);
      for (int i = 0; i < kVectors; ++i)
        sum[i] = fma(load_lanes(dy + i * kW, n), mul(load_lanes(x + i * kW, n), factor), sum[i]);
    }
    for (int i = 0; i < kVectors; ++i) total[i] = add(total[i], sum[i]);
  }
  float* dw = static_cast<float*>(k.dw) + c;
  for (int i = 0; i < kVectors; ++i) store_lanes(dw + i * kW, add(load_lanes(dw + i * kW, n), total[i]), n);
}

template <class X, class DY>
void weight_block(const RmsNormBackwardWeight& k, int64_t begin, int64_t end) {
  int64_t c = begin;
  for (; c + 4 * kW <= end; c += 4 * kW) weight_columns<X, DY, 4>(k, c, Full{});
  for (; c + kW <= end; c += kW) weight_columns<X, DY, 1>(k, c, Full{});
  if (c < end) weight_columns<X, DY, 1>(k, c, end - c);
}

}  // namespace

void rms_norm(const RmsNorm& k) {
  visit_small(
      [&](auto x, auto y) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          forward_rows<element<decltype(x)>, element<decltype(y)>>(k, begin, end);
        });
      },
      k.x.dtype, k.y.dtype);
}

void rms_norm_backward_input(const RmsNormBackwardInput& k) {
  visit_small(
      [&](auto x, auto dy, auto dx) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          backward_rows<element<decltype(x)>, element<decltype(dy)>, element<decltype(dx)>>(k, begin, end);
        });
      },
      k.x.dtype, k.dy.dtype, k.dx.dtype);
}

void rms_norm_backward_weight(const RmsNormBackwardWeight& k) {
  visit_small(
      [&](auto x, auto dy) {
        parallel_blocks(k.lane, k.cols, cols_per_task(k.cols, k.lane), [&](int64_t begin, int64_t end) {
          weight_block<element<decltype(x)>, element<decltype(dy)>>(k, begin, end);
        });
      },
      k.x.dtype, k.dy.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
