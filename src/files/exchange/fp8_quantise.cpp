// The released quantiser (§3.5) is tensor/quantised.h's; a file adds that no code may be NaN: what is written is meant
// to be read by others, and a value that is not finite would silently become another number there.
#include <algorithm>

#include "base/error.h"
#include "exchange/fp8_blocks.h"
#include "tensor/quantised.h"

namespace hadal {

void quantise_blocks(const Exec& exec, const Tensor& w, const Tensor& codes, const Tensor& scales, bool ue8m0,
                     BlockSize block) {
  check(
      codes.dtype() == DType::f8_e4m3 && codes.shape() == w.shape() && scales.shape() == scale_shape(w.shape(), block),
      ErrorKind::internal, "codes {} {} and scales {} do not fit a weight of {}", dtype_name(codes.dtype()),
      shape_text(codes.shape()), shape_text(scales.shape()), shape_text(w.shape()));
  const Tensor wide = scales.dtype() == DType::f32 ? scales : Tensor::empty(exec, DType::f32, scales.shape());
  quantise(exec, {codes, wide, {block.rows, block.cols}, w.dtype(), ue8m0 ? ScaleRule::power_of_two : ScaleRule::exact},
           w, AmaxFloor::released);
  if (wide.raw() != scales.raw()) scales.copy_from(exec, wide);
  for (int64_t row = 0; row < codes.rows(); ++row) {
    const auto* bits = static_cast<const uint8_t*>(codes.raw()) + row * codes.row_stride();
    const bool finite = std::none_of(bits, bits + codes.cols(), [](uint8_t code) { return (code & 0x7f) == 0x7f; });
    check(finite, ErrorKind::corrupt, "it holds a value that is not finite, which FP8 blocks cannot carry");
  }
}

}  // namespace hadal
