// The product of two matrices of FP8 codes with scales (§3.5): with b the chunks of K that share their scales,
//   C[m,n] (+)= sum over b, ascending, of  sa[m,b] * sb[n,b] * (sum over k in b, ascending, of A[m,k] * B[n,k])
// Both sums are FP32 (the products themselves are exact there), the outer one is promoted once per chunk; C is FP32 or
// BF16, rounded at the end. With tiles of 128 this is the bit contract of kernels/gemm.h: m, n, threads and neighbours
// change nothing. On the CPU's vectors the product of codes widened to bf16 does this for tiles of 128 (kernels/gemm.h,
// ops/matmul_quantised.cpp), in its order of sums.
#pragma once
#include <cstdint>

#include "kernels/gemm.h"

namespace hadal::kernels {

// Element (i, k) of an operand (i counts rows of A, columns of the product's B) lies row * i + col * k after `codes`;
// its scale lies scale_row * (i / tile) + scale_col * (k / chunk) after `scales`.
struct ScaledOperand {
  const uint8_t* codes = nullptr;  // E4M3
  const float* scales = nullptr;
  int64_t row = 0, col = 1, scale_row = 0, scale_col = 1;
  int64_t tile = 1;
};

struct ScaledGemm {
  ScaledOperand a, b;
  void* c = nullptr;
  DType c_type = DType::f32;  // f32 or bf16
  int64_t c_row = 0;          // in elements; columns are contiguous
  int64_t m = 0, n = 0, k = 0;
  int64_t chunk = kGemmChunk;  // <= kGemmChunk
  bool add = false;
  Lane* lane = nullptr;
};

HADAL_DECLARE_FORMULA(scaled_gemm, ScaledGemm)

// The same product as Hopper's tensor cores sum it (tensor_core.h), 32 k at a time, in an accumulator of 13 bits behind
// the leading one. Slow; the same bits in every instruction set; on the CPU alone.
//   hopper              a chunk's sum begins at zero and is promoted at its end, as the report does every 128 k (§3.3):
//                       C += (sa * sb) * sum in FP32, rounded once.
//   hopper_unpromoted   the sum stays in the accumulator over all of K, where it counts in units of the chunk's scales:
//                       where they change, the accumulator is multiplied in FP32 by old / new, and the next
//                       instruction cuts it off as it aligns it. Where they do not change, as those of one scale per
//                       row, this is what the tensor core does; with powers of two, what it would do with the values
//                       themselves. At the end C += (sa * sb) * sum, by the last chunk's scales.
enum class Accumulation : uint8_t { fp32, hopper, hopper_unpromoted };

struct TensorCoreGemm {
  ScaledGemm product;
  bool promoted = true;
};

HADAL_DECLARE_KERNEL(tensor_core_gemm, TensorCoreGemm)

}  // namespace hadal::kernels
