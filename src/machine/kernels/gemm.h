// Matrix products C[m,n] (+)= A[m,k] B[k,n] for a list of products of one form: a single product, the experts of a
// layer, the heads of an attention. Operands are strided views, so NN, NT and TN are one kernel.
//
// Bit contract (house: one = many, trainer = engine). An element of C is
//   total = (add ? C : first chunk);  total += chunk_0, chunk_1, ...        FP32 (FP64 when everything is f64)
// over chunks of kGemmChunk consecutive k, ascending, each summed from 0 by one fused multiply-add per k in ascending
// order, and rounded to C's type at the end. So `add` accumulates chunk by chunk: two calls on halves of K that end on
// a chunk equal one call on all of it. Tiles, threads, m, n and neighbours change nothing. Where both operands are bf16
// and the instruction set multiplies bf16 pairs (avx512_bf16), a step is one pair (k, k+1), an odd last k paired with
// zero; elsewhere bf16, and f16 everywhere, is widened to FP32, exactly. With AMX (avx512_amx) a step is 32 k of two
// bf16 operands: even and odd k apart, one fused multiply-add each from zero, ascending; the two's sum joins the total
// at once (no chunks; of codes it joins their chunk's), subnormals being zero. On a GPU, chunks of two bf16 operands
// whose rows begin at multiples of 16 bytes are summed as its tensor cores do (tensor_core.h), from zero, 16 k to an
// instruction; the rest has AVX2's bits. The reference multiplies and adds separately (it runs on machines without a
// fused unit).
#pragma once
#include <cstdint>

#include "kernels/dispatch.h"

namespace hadal::kernels {

constexpr int64_t kGemmChunk = 128;

// Element (i, j) of A lies a_row * i + a_col * j elements after `a`, likewise B (rows are k); one stride of the two is
// 1. C's columns are contiguous. No operand overlaps C. Sizes may be 0: k = 0 gives zeros, or leaves C with `add`.
// B may also be panels packed for the instruction set (gemm_panels.h): then A's columns are contiguous, and the bits
// are those of the product with what was packed (not on a GPU in bf16: panels go past its tensor cores). Panels of FP8
// codes (b_type f8_e4m3, on the CPU) have a scale per block of 128 x 128; a chunk is summed over the codes, widened
// exactly and to bf16 where A is bf16 (so pairs are multiplied where the instruction set does so), and joins the total
// as chunk_i * scale, rounded twice.
struct GemmProduct {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
  const float* b_scales = nullptr;  // of codes: [ceil(n / 128), ceil(k / 128)]
};

// Groups of rows whose sizes a device alone knows: the one product of a call stands for n of them. Group g has rows
// offsets[g] .. offsets[g+1] of A and C, whose m holds all groups, and matrix g of a stack B; or, along k, these rows
// of A and B, whose k holds all groups, and matrix g of a stack C. On the CPU, ops make a list of products of them.
struct GemmGroups {
  const int32_t* offsets = nullptr;  // [n + 1]; null: no groups
  int64_t n = 0;
  int64_t stack = 0;  // elements from one matrix to the next
  bool along_k = false;
};

// Of two operands of FP8 codes, widened exactly (to bf16, so that pairs are multiplied where the instruction set does
// so) as they are packed: scales that hold for `tile` rows of A (columns of B) and a chunk of k. Row i and chunk b have
// scales[row * (i / tile) + chunk * b]; the chunk joins the total as (sa * sb) * chunk_b.
struct ChunkScales {
  const float* scales = nullptr;
  int64_t row = 0, chunk = 1, tile = 1;
};
struct ProductScales {
  ChunkScales a, b;  // b is not read beside panels, whose scales come with the product
};

struct Gemm {
  const GemmProduct* products = nullptr;
  int64_t n_products = 0;
  GemmGroups groups;
  // f32, bf16 or f16, beside panels f32 or bf16, of panels also f8_e4m3; A and B both f8_e4m3 with scales (B also as
  // panels); f64 only if all three are, and only by the reference
  DType a_type = DType::f32, b_type = DType::f32, c_type = DType::f32;
  int64_t a_row = 0, a_col = 1, b_row = 0, b_col = 1, c_row = 0;  // in elements
  bool b_is_panels = false;                                       // b_row and b_col say nothing then
  bool add = false;
  const ProductScales* scales = nullptr;  // of each product; null: none. On the CPU alone
  Lane* lane = nullptr;
};
static inline const ProductScales* scales_of(const Gemm& g, const GemmProduct& product) {
  return g.scales == nullptr ? nullptr : g.scales + (&product - g.products);
}

HADAL_DECLARE_TWINS(gemm, Gemm, avx512_amx)

}  // namespace hadal::kernels
