// What quantisers do with codes and bits, on AVX2 (codes.h).
#pragma once
#include "kernels/cpu/simd.h"

namespace hadal::kernels::HADAL_ISA {

HADAL_INLINE I bits_of(V a) { return {_mm256_castps_si256(a.v)}; }
HADAL_INLINE V as_floats(I a) { return {_mm256_castsi256_ps(a.v)}; }
HADAL_INLINE void store_bytes(void* p, I a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a.v); }
HADAL_INLINE I magnitudes(I a, float) { return {_mm256_and_si256(a.v, _mm256_set1_epi32(0x7fffffff))}; }
HADAL_INLINE I magnitudes(I a, bf16) { return {_mm256_and_si256(a.v, _mm256_set1_epi16(0x7fff))}; }
HADAL_INLINE I larger(I a, I b, float) { return {_mm256_max_epi32(a.v, b.v)}; }
HADAL_INLINE I larger(I a, I b, bf16) { return {_mm256_max_epi16(a.v, b.v)}; }
HADAL_INLINE int32_t largest_bits(I a, float) {
  __m128i x = _mm_max_epi32(_mm256_castsi256_si128(a.v), _mm256_extracti128_si256(a.v, 1));
  x = _mm_max_epi32(x, _mm_shuffle_epi32(x, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}
HADAL_INLINE int32_t largest_bits(I a, bf16) {
  const __m256i odd = _mm256_and_si256(a.v, _mm256_set1_epi32(int(0xffff0000)));
  return largest_bits(I{_mm256_max_epi32(odd, _mm256_slli_epi32(a.v, 16))}, 0.0f);
}
HADAL_INLINE V next_power(V a) {
  const __m256i up = _mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x7fffff));
  return {_mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(int(0xff800000))))};
}

// The code of a magnitude with kFraction bits of fraction and the exponents of kBias, as on AVX-512 (codes_avx512.h).
template <int kFraction, int kBias>
HADAL_INLINE __m256i rounded_magnitude(__m256 a) {
  constexpr int kCodes = 4 * (kBias + 1) << kFraction, kSubtracted = ((128 - kBias) << kFraction) % kCodes;
  constexpr float kMagic = 0x1.8p23f / (1 << kFraction) + float(kCodes - kSubtracted) / (1 << kFraction);
  const __m256i smallest = _mm256_set1_epi32((128 - kBias) << 23);
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i binade = _mm256_max_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7f800000)), smallest);
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
  const __m256 units = _mm256_fmadd_ps(_mm256_castsi256_ps(binade), _mm256_set1_ps(kMagic), magnitude);
  const __m256i code = _mm256_add_epi32(_mm256_castps_si256(units), _mm256_srli_epi32(binade, 23 - kFraction));
  return _mm256_and_si256(code, _mm256_set1_epi32((2 * (kBias + 1) << kFraction) - 1));
}
HADAL_INLINE __m256i with_sign(__m256i code, __m256 a, int shift, int bit) {
  return _mm256_or_si256(code,
                         _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(a), shift), _mm256_set1_epi32(bit)));
}
// The lowest bytes of eight lanes below 256.
HADAL_INLINE int64_t bytes_of_lanes(__m256i a) {
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  return _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
}

HADAL_INLINE void store_finite_e4m3(uint8_t* p, V a, V sign, int64_t n) {
  const int64_t codes = bytes_of_lanes(with_sign(rounded_magnitude<3, 7>(a.v), sign.v, 24, 0x80));
  if (n >= kW) {
    __builtin_memcpy(p, &codes, 8);
  } else {
    for (int64_t i = 0; i < n; ++i) p[i] = uint8_t(codes >> 8 * i);
  }
}

HADAL_INLINE void store_finite_e5m6(uint8_t* upper, uint8_t* lower, V a) {
  const __m256i code = with_sign(rounded_magnitude<6, 15>(a.v), a.v, 20, 0x800);
  const int64_t high = bytes_of_lanes(_mm256_srli_epi32(code, 4));
  __builtin_memcpy(upper, &high, 8);
  const __m256i nibbles = _mm256_and_si256(code, _mm256_set1_epi32(15));
  const __m256i both =
      _mm256_and_si256(_mm256_or_si256(nibbles, _mm256_srli_epi64(nibbles, 28)), _mm256_set1_epi64x(0xff));
  const int64_t low = bytes_of_lanes(_mm256_permutevar8x32_epi32(both, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7)));
  __builtin_memcpy(lower, &low, 4);
}
HADAL_INLINE V load_e5m6(const uint8_t* upper, const uint8_t* lower) {
  int32_t four;
  __builtin_memcpy(&four, lower, 4);
  const __m128i high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(upper));
  const __m128i pairs = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
  const __m128i even = _mm_slli_epi32(_mm_and_si128(pairs, _mm_set1_epi32(15)), 4);
  const __m128i odd = _mm_slli_epi32(_mm_and_si128(pairs, _mm_set1_epi32(0xf0)), 16);
  return widen_f16(_mm_or_si128(_mm_slli_epi16(_mm_cvtepu8_epi16(high), 8), _mm_or_si128(even, odd)));
}

}  // namespace hadal::kernels::HADAL_ISA
