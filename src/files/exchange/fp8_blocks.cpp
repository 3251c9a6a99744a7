// Dequantisation: a code becomes a float by shifting its bits into a float's exponent and fraction and multiplying by
// 2^120, which is exact for every code, the subnormal ones too; then comes the block's scale.
#include "exchange/fp8_blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace hadal {
namespace {

constexpr int64_t kPiece = 256;  // columns at a time on the way to types other than float

inline float code_value(uint8_t bits) {
  const uint32_t sign = uint32_t(bits & 0x80u) << 24, rest = uint32_t(bits & 0x7fu) << 20;
  const float value = std::bit_cast<float>(rest) * 0x1p120f;
  const uint32_t magnitude = rest == 0x7f00000u ? 0x7fc00000u : std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>(magnitude | sign);
}

void expand(const uint8_t* codes, float scale, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = code_value(codes[i]) * scale;
}
void expand(const uint8_t* codes, float scale, double* out, int64_t n) {  // exact: 4 and 24 significant bits
  for (int64_t i = 0; i < n; ++i) out[i] = double(code_value(codes[i])) * double(scale);
}

// Columns [first, first + n) of one row of `out`.
void expand_into(const Tensor& out, int64_t row, int64_t first, const uint8_t* codes, float scale, int64_t n) {
  char* at = static_cast<char*>(out.raw()) + (row * out.row_stride() + first) * dtype_bytes(out.dtype());
  if (out.dtype() == DType::f32) return expand(codes, scale, reinterpret_cast<float*>(at), n);
  if (out.dtype() == DType::f64) return expand(codes, scale, reinterpret_cast<double*>(at), n);
  float piece[kPiece];
  for (int64_t i = 0; i < n; i += kPiece) {
    const int64_t m = std::min(kPiece, n - i);
    expand(codes + i, scale, piece, m);
    Tensor::wrap(at + i * dtype_bytes(out.dtype()), out.dtype(), {m}).copy_from(Tensor::wrap(piece, DType::f32, {m}));
  }
}

}  // namespace

Shape scale_shape(const Shape& codes, BlockSize block) {
  check(codes.size() == 2 && block.rows > 0 && block.cols > 0, ErrorKind::invalid,
        "blocks of {} x {} cannot cut a tensor of shape {}; a matrix and blocks above 0 are wanted", block.rows,
        block.cols, shape_text(codes));
  return {(codes[0] + block.rows - 1) / block.rows, (codes[1] + block.cols - 1) / block.cols};
}

void dequantise_blocks(const Exec& exec, const Tensor& codes, const Tensor& scales, const Tensor& out,
                       BlockSize block) {
  check(codes.dtype() == DType::f8_e4m3, ErrorKind::internal, "codes of {} are not FP8", dtype_name(codes.dtype()));
  const Shape grid = scale_shape(codes.shape(), block);
  check(scales.shape() == grid && out.rows() == codes.rows() && out.cols() == codes.cols(), ErrorKind::internal,
        "codes {} need scales {} and a result of their own shape, got {} and {}", shape_text(codes.shape()),
        shape_text(grid), shape_text(scales.shape()), shape_text(out.shape()));
  const Tensor wide = scales.dtype() == DType::f32 && scales.contiguous() ? scales : scales.to(exec, DType::f32);
  const float* scale = wide.data<float>();
  const auto* first = static_cast<const uint8_t*>(codes.raw());
  exec.compute->parallel_for(grid[0], [&](int64_t block_row, int) {
    const int64_t end = std::min(codes.rows(), (block_row + 1) * block.rows);
    for (int64_t row = block_row * block.rows; row < end; ++row) {
      const uint8_t* line = first + row * codes.row_stride();
      for (int64_t b = 0; b < grid[1]; ++b) {
        const int64_t col = b * block.cols, n = std::min(block.cols, codes.cols() - col);
        expand_into(out, row, col, line + col, scale[block_row * grid[1] + b], n);
      }
    }
  });
}

void check_scales(const Tensor& scales, const std::string& name) {
  for (int64_t i = 0; i < scales.count(); ++i) {
    const double scale = element(scales, i);
    const char* fault = std::isnan(scale)   ? "not a number"
                        : std::isinf(scale) ? "infinite"
                        : scale == 0        ? "zero"
                        : scale < 0         ? "negative"
                                            : nullptr;
    check(fault == nullptr, ErrorKind::corrupt,
          "tensor '{}': the scale of block [{}, {}] is {} ({}); it must be a finite number above zero", name,
          i / scales.cols(), i % scales.cols(), fault, scale);
  }
}

}  // namespace hadal
