// The vector layer on AVX2 + FMA: 8 floats. See simd.h; included by it only.
#pragma once
#include "kernels/power_of_two.h"

namespace hadal::kernels::HADAL_ISA {

constexpr int64_t kW = 8;
struct V {
  __m256 v;
};
struct M {
  __m256 m;
};

HADAL_INLINE __m256i lanes_below(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

HADAL_INLINE V broadcast(float x) { return {_mm256_set1_ps(x)}; }
HADAL_INLINE float first(V a) { return _mm256_cvtss_f32(a.v); }
HADAL_INLINE V iota() { return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7)}; }

HADAL_INLINE V load(const float* p) { return {_mm256_loadu_ps(p)}; }
HADAL_INLINE V load_n(const float* p, int64_t n) { return {_mm256_maskload_ps(p, lanes_below(n))}; }
HADAL_INLINE void store(float* p, V a) { _mm256_storeu_ps(p, a.v); }
HADAL_INLINE void store_n(float* p, V a, int64_t n) { _mm256_maskstore_ps(p, lanes_below(n), a.v); }

HADAL_INLINE V widen(__m128i x) { return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16))}; }
// The lower and the upper bf16 of every word.
HADAL_INLINE V lower_halves(V a) { return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.v), 16))}; }
HADAL_INLINE V upper_halves(V a) {
  return {_mm256_and_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(int(0xffff0000))))};
}
// Round to nearest even; NaN becomes a quiet NaN of the same sign.
HADAL_INLINE __m128i narrow(V a) {
  const __m256i bits = _mm256_castps_si256(a.v), top = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i x = _mm256_blendv_epi8(rounded, quiet, is_nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
HADAL_INLINE __m128i narrow_exact(V a) { return narrow(a); }
HADAL_INLINE V load(const bf16* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
HADAL_INLINE V load_n(const bf16* p, int64_t n) {
  alignas(16) uint16_t part[8] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = p[i].bits;
  return widen(_mm_load_si128(reinterpret_cast<const __m128i*>(part)));
}
HADAL_INLINE void store(bf16* p, V a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(a)); }
HADAL_INLINE void store_n(bf16* p, V a, int64_t n) {
  alignas(16) uint16_t part[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(part), narrow(a));
  for (int64_t i = 0; i < n; ++i) p[i].bits = part[i];
}

// IEEE half, subnormals too: to nearest even, from 65520 on infinity, NaN a quiet NaN.
HADAL_INLINE V widen_f16(__m128i x) { return {_mm256_cvtph_ps(x)}; }
HADAL_INLINE __m128i narrow_f16(V a) { return _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT); }
HADAL_INLINE V load(const f16* p) { return widen_f16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
HADAL_INLINE V load_n(const f16* p, int64_t n) {
  alignas(16) uint16_t part[8] = {};
  for (int64_t i = 0; i < n; ++i) part[i] = p[i].bits;
  return widen_f16(_mm_load_si128(reinterpret_cast<const __m128i*>(part)));
}
HADAL_INLINE void store(f16* p, V a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_f16(a)); }
HADAL_INLINE void store_n(f16* p, V a, int64_t n) {
  alignas(16) uint16_t part[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(part), narrow_f16(a));
  for (int64_t i = 0; i < n; ++i) p[i].bits = part[i];
}

// FP8 E4M3: to nearest even, beyond 448 the largest code, NaN stays NaN.
HADAL_INLINE void store_e4m3(uint8_t* p, V a, int64_t n) {
  const __m256i bits = _mm256_castps_si256(a.v), magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(magnitude, 20), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(magnitude, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7ffff)));
  const __m256i normal = _mm256_srli_epi32(_mm256_sub_epi32(rounded, _mm256_set1_epi32(0x3c000000)), 20);
  // Below 2^-6 in units of 2^-9: adding 2^23 rounds to whole units, which then are the lowest bits.
  const __m256 units = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p9f));
  const __m256i small =
      _mm256_and_si256(_mm256_castps_si256(_mm256_add_ps(units, _mm256_set1_ps(0x1p23f))), _mm256_set1_epi32(0xff));
  __m256i code = _mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(0x3c800000), magnitude));
  code =
      _mm256_blendv_epi8(code, _mm256_set1_epi32(0x7e), _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x43dfffff)));
  code =
      _mm256_blendv_epi8(code, _mm256_set1_epi32(0x7f), _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f800000)));
  code = _mm256_or_si256(code, _mm256_and_si256(_mm256_srli_epi32(bits, 24), _mm256_set1_epi32(0x80)));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
  const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
  if (n >= 8) {
    __builtin_memcpy(p, &bytes, 8);
  } else {
    for (int64_t i = 0; i < n; ++i) p[i] = uint8_t(bytes >> 8 * i);
  }
}
// As a half of 2^-8 times its value, exactly, subnormal ones too: widening these takes no longer than others, while
// multiplying a subnormal float takes a hundred times as long.
HADAL_INLINE V load_e4m3(const uint8_t* p, int64_t n) {
  int64_t bytes = 0;
  if (n >= 8) {
    __builtin_memcpy(&bytes, p, 8);
  } else {
    for (int64_t i = 0; i < n; ++i) bytes |= int64_t(p[i]) << 8 * i;
  }
  const __m128i code = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(bytes)), largest = _mm_set1_epi16(0x3f80);
  const __m128i rest = _mm_and_si128(_mm_slli_epi16(code, 7), largest);
  const __m128i magnitude = _mm_blendv_epi8(rest, _mm_set1_epi16(0x7e00), _mm_cmpeq_epi16(rest, largest));  // NaN
  const __m128i sign = _mm_and_si128(_mm_slli_epi16(code, 8), _mm_set1_epi16(int16_t(0x8000)));
  return {_mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(magnitude, sign)), _mm256_set1_ps(0x1p8f))};
}

// The code in byte i of every word, exactly; a NaN's code as 480. All may be subnormal.
constexpr float kCodeUnit = 1;
template <int i, bool kMarked>
HADAL_INLINE V widen_code(V words) {
  const __m256i code = _mm256_castps_si256(words.v), top = i < 3 ? _mm256_slli_epi32(code, 24 - 8 * i) : code;
  const __m256i bits = _mm256_and_si256(_mm256_srai_epi32(top, 4), _mm256_set1_epi32(int(0x87f00000)));
  return {_mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p120f))};
}
// Whole numbers -127 .. 127.
HADAL_INLINE void store_int8(int8_t* p, V a) {
  const __m256i words = _mm256_cvtps_epi32(a.v);
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
}

// 32-bit integers, and the bytes and halves of their words.
struct I {
  __m256i v;
};
HADAL_INLINE I load_bytes(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
HADAL_INLINE I broadcast_int(int32_t x) { return {_mm256_set1_epi32(x)}; }
HADAL_INLINE I add(I a, I b) { return {_mm256_add_epi32(a.v, b.v)}; }
HADAL_INLINE V to_float(I a) { return {_mm256_cvtepi32_ps(a.v)}; }
HADAL_INLINE I lower_nibbles(I a) { return {_mm256_and_si256(a.v, _mm256_set1_epi8(15))}; }
HADAL_INLINE I upper_nibbles(I a) { return {_mm256_and_si256(_mm256_srli_epi16(a.v, 4), _mm256_set1_epi8(15))}; }
HADAL_INLINE I even_bytes(I a) { return {_mm256_and_si256(a.v, _mm256_set1_epi16(255))}; }
HADAL_INLINE I odd_bytes(I a) { return {_mm256_srli_epi16(a.v, 8)}; }
HADAL_INLINE I even_signed(I a) { return {_mm256_srai_epi16(_mm256_slli_epi16(a.v, 8), 8)}; }
HADAL_INLINE I odd_signed(I a) { return {_mm256_srai_epi16(a.v, 8)}; }
HADAL_INLINE I pairs(I a, I b) { return {_mm256_madd_epi16(a.v, b.v)}; }              // of signed 16 bits, in 32
HADAL_INLINE I pairs_of_bytes(I a, I b) { return {_mm256_maddubs_epi16(a.v, b.v)}; }  // unsigned by signed, in 16
HADAL_INLINE I ones_of_16() { return {_mm256_set1_epi16(1)}; }

HADAL_INLINE V add(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
HADAL_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
HADAL_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
HADAL_INLINE V div(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
HADAL_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }    // a * b + c
HADAL_INLINE V nfma(V a, V b, V c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
HADAL_INLINE V max(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }                // b when either is NaN
HADAL_INLINE V min(V a, V b) { return {_mm256_min_ps(a.v, b.v)}; }                // b when either is NaN
HADAL_INLINE V sqrt(V a) { return {_mm256_sqrt_ps(a.v)}; }
HADAL_INLINE V abs(V a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
HADAL_INLINE V round(V a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

HADAL_INLINE M less(V a, V b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
HADAL_INLINE M less_equal(V a, V b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
HADAL_INLINE M equal(V a, V b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
HADAL_INLINE M first_n(int64_t n) { return {_mm256_castsi256_ps(lanes_below(n))}; }
HADAL_INLINE V select(M m, V yes, V no) { return {_mm256_blendv_ps(no.v, yes.v, m.m)}; }
HADAL_INLINE bool any(M m) { return _mm256_movemask_ps(m.m) != 0; }

// Pairs of lanes (2i, 2i+1), for complex arithmetic.
HADAL_INLINE V swap_pairs(V a) { return {_mm256_permute_ps(a.v, 0xb1)}; }
HADAL_INLINE V even_twice(V a) { return {_mm256_moveldup_ps(a.v)}; }
HADAL_INLINE V odd_twice(V a) { return {_mm256_movehdup_ps(a.v)}; }
HADAL_INLINE V fma_sub_add(V a, V b, V c) { return {_mm256_fmaddsub_ps(a.v, b.v, c.v)}; }  // even: a*b-c, odd: a*b+c
HADAL_INLINE V fma_add_sub(V a, V b, V c) { return {_mm256_fmsubadd_ps(a.v, b.v, c.v)}; }  // even: a*b+c, odd: a*b-c

HADAL_INLINE __m256 fold_add(V a) { return a.v; }
HADAL_INLINE __m256 fold_max(V a) { return a.v; }

// a * 2^n for integral n in [-151, 129], in two steps so that neither power overflows.
HADAL_INLINE V scale_by_power(V a, V n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
  const __m256 one = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 two = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23));
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, one), two)};
}

// 2^x for x <= 127, relative error 1e-7; below -126 it is 2^-126. NaN stays NaN.
HADAL_INLINE V power_of_two(V x) {
  x = max(broadcast(kPowerLowest), x);
  const V n = round(x), f = sub(x, n);
  V p = broadcast(kPower5);
  p = fma(p, f, broadcast(kPower4));
  p = fma(p, f, broadcast(kPower3));
  p = fma(p, f, broadcast(kPower2));
  p = fma(p, f, broadcast(kPower1));
  p = fma(p, f, broadcast(kPower0));
  const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v), power))};
}

// Rows become columns.
HADAL_INLINE void transpose(V (&x)[8]) {
  __m256 t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(x[i].v, x[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    x[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

}  // namespace hadal::kernels::HADAL_ISA
