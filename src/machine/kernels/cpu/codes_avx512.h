// What quantisers do with codes and bits, on AVX-512 (codes.h).
#pragma once
#include "kernels/cpu/simd.h"

namespace hadal::kernels::HADAL_ISA {

HADAL_INLINE I bits_of(V a) { return {_mm512_castps_si512(a.v)}; }
HADAL_INLINE V as_floats(I a) { return {_mm512_castsi512_ps(a.v)}; }
HADAL_INLINE void store_bytes(void* p, I a) { _mm512_storeu_si512(p, a.v); }
HADAL_INLINE I magnitudes(I a, float) { return {_mm512_and_si512(a.v, _mm512_set1_epi32(0x7fffffff))}; }
HADAL_INLINE I magnitudes(I a, bf16) { return {_mm512_and_si512(a.v, _mm512_set1_epi16(0x7fff))}; }
HADAL_INLINE I larger(I a, I b, float) { return {_mm512_max_epi32(a.v, b.v)}; }
HADAL_INLINE I larger(I a, I b, bf16) { return {_mm512_max_epi16(a.v, b.v)}; }
HADAL_INLINE int32_t largest_bits(I a, float) { return _mm512_reduce_max_epi32(a.v); }
HADAL_INLINE int32_t largest_bits(I a, bf16) {
  const __m512i odd = _mm512_and_si512(a.v, _mm512_set1_epi32(int(0xffff0000)));
  return _mm512_reduce_max_epi32(_mm512_max_epi32(odd, _mm512_slli_epi32(a.v, 16)));
}
HADAL_INLINE V next_power(V a) {
  const __m512i up = _mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffff));
  return {_mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(int(0xff800000))))};
}

// The code of a magnitude with kFraction bits of fraction and the exponents of kBias; what lies above it is cut off. A
// number's unit is 2^-kFraction of its binade, or of the smallest normal's. Added to 2^23 units and a half of that, the
// number is rounded to whole units, to nearest even, and these are the lowest bits of the sum; the code is their number
// and, for each binade above the smallest normal's, 2^kFraction more. The even constant that this subtracts is added
// with the 2^23 units, modulo the bits of a code.
template <int kFraction, int kBias>
HADAL_INLINE __m512i rounded_magnitude(__m512 a) {
  constexpr int kCodes = 4 * (kBias + 1) << kFraction, kSubtracted = ((128 - kBias) << kFraction) % kCodes;
  constexpr float kMagic = 0x1.8p23f / (1 << kFraction) + float(kCodes - kSubtracted) / (1 << kFraction);
  const __m512i smallest = _mm512_set1_epi32((128 - kBias) << 23);
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i binade = _mm512_max_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0x7f800000)), smallest);
  const __m512 magnitude = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  const __m512 units = _mm512_fmadd_ps(_mm512_castsi512_ps(binade), _mm512_set1_ps(kMagic), magnitude);
  return _mm512_add_epi32(_mm512_castps_si512(units), _mm512_srli_epi32(binade, 23 - kFraction));
}
HADAL_INLINE __m512i with_sign(__m512i code, __m512 a, int shift, int bit) {
  constexpr int kFirstOrSecondAndThird = 0xf8;  // a ternary logic's table
  return _mm512_ternarylogic_epi32(code, _mm512_srli_epi32(_mm512_castps_si512(a), shift), _mm512_set1_epi32(bit),
                                   kFirstOrSecondAndThird);
}

HADAL_INLINE void store_finite_e4m3(uint8_t* p, V a, V sign, int64_t n) {
  const __m128i codes = _mm512_cvtepi32_epi8(with_sign(rounded_magnitude<3, 7>(a.v), sign.v, 24, 0x80));
  if (n >= kW) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), codes);
  _mm_mask_storeu_epi8(p, lanes_below(n), codes);
}

HADAL_INLINE void store_finite_e5m6(uint8_t* upper, uint8_t* lower, V a) {
  const __m512i code = with_sign(rounded_magnitude<6, 15>(a.v), a.v, 20, 0x800);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(upper), _mm512_cvtepi32_epi8(_mm512_srli_epi32(code, 4)));
  const __m512i nibbles = _mm512_and_si512(code, _mm512_set1_epi32(15));
  const __m512i both = _mm512_or_si512(nibbles, _mm512_srli_epi64(nibbles, 28));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(lower), _mm512_cvtepi64_epi8(both));
}
HADAL_INLINE V load_e5m6(const uint8_t* upper, const uint8_t* lower) {
  const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(upper));
  const __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(lower)));
  const __m256i even = _mm256_slli_epi32(_mm256_and_si256(pairs, _mm256_set1_epi32(15)), 4);
  const __m256i odd = _mm256_slli_epi32(_mm256_and_si256(pairs, _mm256_set1_epi32(0xf0)), 16);
  return widen_f16(_mm256_or_si256(_mm256_slli_epi16(_mm256_cvtepu8_epi16(high), 8), _mm256_or_si256(even, odd)));
}

}  // namespace hadal::kernels::HADAL_ISA
