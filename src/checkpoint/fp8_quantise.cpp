// The released quantiser (§3.5): one scale per block of 128 x 128, s = max(amax, 1e-4) / 448, code = e4m3(w / s). The
// quotient is a true division, as released; multiplying by 1/s would differ in the last bit.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "base/error.h"
#include "base/float_formats.h"
#include "checkpoint/fp8_blocks.h"

namespace hadal {

namespace {

constexpr int64_t kBlock = 128;
constexpr float kSmallestAmax = 1e-4f, kLargestCode = 448.0f;

float block_amax(const Tensor& values, int64_t first_col, int64_t n_cols) {
  float amax = 0;
  bool finite = true;
  for (int64_t r = 0; r < values.rows(); ++r) {
    const float* row = values.data<float>() + r * values.row_stride() + first_col;
    for (int64_t c = 0; c < n_cols; ++c) {
      const float magnitude = std::fabs(row[c]);
      finite &= magnitude <= FLT_MAX;  // false for NaN too
      amax = std::max(amax, magnitude);
    }
  }
  check(finite, ErrorKind::corrupt, "it holds a value that is not finite, which FP8 blocks cannot carry");
  return amax;
}

float block_scale(float amax, bool ue8m0) {
  const float scale = std::max(amax, kSmallestAmax) / kLargestCode;
  if (!ue8m0) return scale;
  int exponent = 0;
  const float mantissa = std::frexp(scale, &exponent);  // scale = mantissa * 2^exponent, mantissa in [0.5, 1)
  return std::ldexp(1.0f, mantissa == 0.5f ? exponent - 1 : exponent);  // up: rounding down would saturate
}

void quantise_block_row(const Tensor& values, const Tensor& codes, const Tensor& scales, bool ue8m0) {
  for (int64_t b = 0; b * kBlock < values.cols(); ++b) {
    const int64_t first = b * kBlock, n = std::min(kBlock, values.cols() - first);
    const float scale = block_scale(block_amax(values, first, n), ue8m0);
    set_element(scales, b, scale);
    for (int64_t r = 0; r < values.rows(); ++r) {
      const float* row = values.data<float>() + r * values.row_stride() + first;
      uint8_t* out = static_cast<uint8_t*>(codes.raw()) + r * codes.row_stride() + first;
      for (int64_t c = 0; c < n; ++c) out[c] = e4m3::round(row[c] / scale);
    }
  }
}

}  // namespace

void quantise_blocks(const Exec& exec, const Tensor& w, const Tensor& codes, const Tensor& scales, bool ue8m0) {
  check(codes.dtype() == DType::f8_e4m3 && codes.shape() == w.shape() && scales.shape() == scale_shape(w.shape(), {}),
        ErrorKind::internal, "codes {} {} and scales {} do not fit a weight of {}", dtype_name(codes.dtype()),
        shape_text(codes.shape()), shape_text(scales.shape()), shape_text(w.shape()));
  exec.pool->parallel_for(scales.rows(), [&](int64_t block_row, int) {
    const int64_t first = block_row * kBlock, n = std::min(kBlock, w.rows() - first);
    Tensor values = w.row_range(first, n);
    if (values.dtype() != DType::f32) values = values.to(exec, DType::f32);
    quantise_block_row(values, codes.row_range(first, n), scales.row_range(block_row, 1), ue8m0);
  });
}

}  // namespace hadal
