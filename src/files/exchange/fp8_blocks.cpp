#include "exchange/fp8_blocks.h"

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

void dequantise_blocks(const Exec& exec, const Tensor& codes, const Tensor& scales, const Tensor& out,
                       BlockSize block) {
  check(codes.dtype() == DType::f8_e4m3, ErrorKind::internal, "codes of {} are not FP8", dtype_name(codes.dtype()));
  const Shape grid = scale_shape(codes.shape(), block);
  check(scales.shape() == grid && out.rows() == codes.rows() && out.cols() == codes.cols(), ErrorKind::internal,
        "codes {} need scales {} and a result of their own shape, got {} and {}", shape_text(codes.shape()),
        shape_text(grid), shape_text(scales.shape()), shape_text(out.shape()));
  const Tensor wide = scales.dtype() == DType::f32 && scales.contiguous() ? scales : scales.to(exec, DType::f32);
  const DType dtype = out.dtype();
  const bool direct = dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16;
  const Tensor values = direct ? out : Tensor::empty(exec, DType::f32, out.shape());
  dequantise(exec, values, {codes, wide, {block.rows, block.cols}, values.dtype()});
  if (!direct) out.copy_from(exec, values);
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
