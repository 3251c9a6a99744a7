#include "exchange/fp8_blocks.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tensor/quantised.h"

namespace hadal {
Shape scale_shape(const Shape& codes, BlockSize block) {
  check(codes.size() == 2 && block.rows > 0 && block.cols > 0, ErrorKind::invalid,
        "blocks of {} x {} cannot cut a tensor of shape {}; a matrix and blocks above 0 are wanted", block.rows,
        block.cols, shape_text(codes));
  return {(codes[0] + block.rows - 1) / block.rows, (codes[1] + block.cols - 1) / block.cols};
}

namespace {

// Of codes that begin where a block begins, or end in the one that they begin in.
void dequantise_piece(const Exec& exec, const Tensor& codes, const Tensor& scales, const Tensor& out, BlockSize block) {
  const Tensor wide = scales.dtype() == DType::f32 && scales.contiguous() ? scales : scales.to(exec, DType::f32);
  const DType dtype = out.dtype();
  const bool direct = dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16;
  const Tensor values = direct ? out : Tensor::empty(exec, DType::f32, out.shape());
  dequantise(exec, values, {codes, wide, {block.rows, block.cols}, values.dtype()});
  if (!direct) out.copy_from(exec, values);
}

// Along one dimension: where the first piece ends.
int64_t first_piece(int64_t size, int64_t block, int64_t offset) {
  return offset > 0 ? std::min(size, block - offset) : size;
}

}  // namespace

void dequantise_blocks(const Exec& exec, const Tensor& codes, const Tensor& scales, const Tensor& out, BlockSize block,
                       BlockOffset at) {
  check(codes.dtype() == DType::f8_e4m3, ErrorKind::internal, "codes of {} are not FP8", dtype_name(codes.dtype()));
  const int64_t rows = codes.rows(), cols = codes.cols();
  const Shape grid = scale_shape({at.row + rows, at.col + cols}, block);
  check(codes.shape().size() == 2 && scales.shape() == grid && out.rows() == rows && out.cols() == cols &&
            at.row < block.rows && at.col < block.cols,
        ErrorKind::internal,
        "codes {} from [{}, {}] of a block need scales {} and a result of their own shape, got {} and {}",
        shape_text(codes.shape()), at.row, at.col, shape_text(grid), shape_text(scales.shape()),
        shape_text(out.shape()));
  const int64_t top = first_piece(rows, block.rows, at.row), left = first_piece(cols, block.cols, at.col);
  for (int64_t row = 0, height = top; row < rows; row += height, height = rows - row) {
    const int64_t block_row = (at.row + row) / block.rows,
                  n_rows = (at.row + row + height - 1) / block.rows + 1 - block_row;
    for (int64_t col = 0, width = left; col < cols; col += width, width = cols - col) {
      const int64_t block_col = (at.col + col) / block.cols,
                    n_cols = (at.col + col + width - 1) / block.cols + 1 - block_col;
      const auto piece = [&](const Tensor& whole) { return whole.row_range(row, height).col_range(col, width); };
      dequantise_piece(exec, piece(codes), scales.row_range(block_row, n_rows).col_range(block_col, n_cols), piece(out),
                       block);
    }
  }
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
