// Sums of products of bytes in 32-bit lanes, four to a lane: weights 0..255 (int8 with its offset) or 0..15 (int4)
// times activations -127..127. Exact on every instruction set; AVX512-VNNI has one instruction for it, elsewhere bytes
// are widened to 16 bits, or, as pairs of int4 fit 16 bits, multiplied as they are.
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels::HADAL_ISA {

#if defined(HADAL_ISA_avx2)
struct I {
  __m256i v;
};
HADAL_INLINE I load_bytes(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
HADAL_INLINE I broadcast_int(int32_t x) { return {_mm256_set1_epi32(x)}; }
HADAL_INLINE I add(I a, I b) { return {_mm256_add_epi32(a.v, b.v)}; }
HADAL_INLINE V to_float(I a) { return {_mm256_cvtepi32_ps(a.v)}; }
HADAL_INLINE V load_f16(const void* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)))}; }
HADAL_INLINE I lower_nibbles(I a) { return {_mm256_and_si256(a.v, _mm256_set1_epi8(15))}; }
HADAL_INLINE I upper_nibbles(I a) { return {_mm256_and_si256(_mm256_srli_epi16(a.v, 4), _mm256_set1_epi8(15))}; }
HADAL_INLINE I even_bytes(I a) { return {_mm256_and_si256(a.v, _mm256_set1_epi16(255))}; }
HADAL_INLINE I odd_bytes(I a) { return {_mm256_srli_epi16(a.v, 8)}; }
HADAL_INLINE I even_signed(I a) { return {_mm256_srai_epi16(_mm256_slli_epi16(a.v, 8), 8)}; }
HADAL_INLINE I odd_signed(I a) { return {_mm256_srai_epi16(a.v, 8)}; }
HADAL_INLINE I pairs(I a, I b) { return {_mm256_madd_epi16(a.v, b.v)}; }              // of signed 16 bits, in 32
HADAL_INLINE I pairs_of_bytes(I a, I b) { return {_mm256_maddubs_epi16(a.v, b.v)}; }  // unsigned by signed, in 16
HADAL_INLINE I ones_of_16() { return {_mm256_set1_epi16(1)}; }
#else
struct I {
  __m512i v;
};
HADAL_INLINE I load_bytes(const void* p) { return {_mm512_loadu_si512(p)}; }
HADAL_INLINE I broadcast_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
HADAL_INLINE I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
HADAL_INLINE V to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
HADAL_INLINE V load_f16(const void* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))}; }
HADAL_INLINE I lower_nibbles(I a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
HADAL_INLINE I upper_nibbles(I a) { return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))}; }
HADAL_INLINE I even_bytes(I a) { return {_mm512_and_si512(a.v, _mm512_set1_epi16(255))}; }
HADAL_INLINE I odd_bytes(I a) { return {_mm512_srli_epi16(a.v, 8)}; }
HADAL_INLINE I even_signed(I a) { return {_mm512_srai_epi16(_mm512_slli_epi16(a.v, 8), 8)}; }
HADAL_INLINE I odd_signed(I a) { return {_mm512_srai_epi16(a.v, 8)}; }
HADAL_INLINE I pairs(I a, I b) { return {_mm512_madd_epi16(a.v, b.v)}; }
HADAL_INLINE I pairs_of_bytes(I a, I b) { return {_mm512_maddubs_epi16(a.v, b.v)}; }
HADAL_INLINE I ones_of_16() { return {_mm512_set1_epi16(1)}; }
#endif

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
