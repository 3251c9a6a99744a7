// Sums of products of bytes in 32-bit lanes, four to a lane: weights 0..255 (int8 with its offset) or 0..15 (int4)
// times activations -127..127. Exact on every instruction set; AVX512-VNNI has one instruction for it, elsewhere bytes
// are widened to 16 bits, or, as pairs of int4 fit 16 bits, multiplied as they are.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels::HADAL_ISA {

// Four activations, in every lane.
HADAL_INLINE I broadcast_word(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return broadcast_int(word);
}

// How a word of weights meets one of activations: each prepared once, then multiplied with many.
#if defined(HADAL_ISA_avx512_bf16) || defined(HADAL_ISA_avx512_vnni)
template <PanelType kType>
struct Dot {
  using W = I;
  using X = I;
  HADAL_INLINE W weights(I w) { return w; }
  HADAL_INLINE X row(const int8_t* x) { return broadcast_word(x); }
  HADAL_INLINE I step(I sum, W w, X x) { return {_mm512_dpbusd_epi32(sum.v, w.v, x.v)}; }
};
#else
template <PanelType kType>
struct Dot {
  using W = I;
  using X = I;
  HADAL_INLINE W weights(I w) { return w; }
  HADAL_INLINE X row(const int8_t* x) { return broadcast_word(x); }
  HADAL_INLINE I step(I sum, W w, X x) { return add(sum, pairs(pairs_of_bytes(w, x), ones_of_16())); }
};
template <>
struct Dot<PanelType::int8> {
  struct Halves {
    I even, odd;
  };
  using W = Halves;
  using X = Halves;
  HADAL_INLINE W weights(I w) { return {even_bytes(w), odd_bytes(w)}; }
  HADAL_INLINE X row(const int8_t* x) {
    const I word = broadcast_word(x);
    return {even_signed(word), odd_signed(word)};
  }
  HADAL_INLINE I step(I sum, W w, X x) { return add(add(sum, pairs(w.even, x.even)), pairs(w.odd, x.odd)); }
};
#endif

}  // namespace hadal::kernels::HADAL_ISA
