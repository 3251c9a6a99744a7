// Weights in FP8 blocks, as the released models store them (§1.7, §3.5): a matrix [out, in] of E4M3 codes and a matrix
// [ceil(out / rows), ceil(in / cols)] of scales, one per block of 128 x 128 (blocks at the edges are partial).
//   value = float(code) * scale of its block        (the stored name "weight_scale_inv" notwithstanding: multiply)
#pragma once
#include <string>

#include "tensor/tensor.h"

namespace hadal {

struct BlockSize {
  int64_t rows = 128, cols = 128;
};

// How many rows and columns of its first block a part of a matrix leaves out.
struct BlockOffset {
  int64_t row = 0, col = 0;
};

Shape scale_shape(const Shape& codes, BlockSize block);  // [ceil(out / rows), ceil(in / cols)]

// One rounding to float (codes have 4 significant bits), and one more to the type of `out`: any float type. codes is
// f8_e4m3 [out, in], all of a matrix or a part of one that begins `at` inside a block; scales, f32, bf16 or f8_e8m0,
// are those of all blocks that it touches.
void dequantise_blocks(const Exec& exec, const Tensor& codes, const Tensor& scales, const Tensor& out,
                       BlockSize block = {}, BlockOffset at = {});
// The released quantiser's rule: s = max(amax, 1e-4) / 448 (rounded up to a power of two when ue8m0), code = e4m3(w /
// s).
void quantise_blocks(const Exec& exec, const Tensor& w, const Tensor& codes, const Tensor& scales, bool ue8m0,
                     BlockSize block = {});

// Throws corrupt naming `name`, the block and its value unless every scale is a finite number above zero.
void check_scales(const Tensor& scales, const std::string& name);

}  // namespace hadal
