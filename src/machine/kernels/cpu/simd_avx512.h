// The vector layer on AVX-512 (F, BW, DQ, VL): 16 floats; with AVX512-BF16 also products of bf16 pairs. See simd.h.
#pragma once

namespace hadal::kernels::HADAL_ISA {

constexpr int64_t kW = 16;
struct V {
  __m512 v;
};
struct M {
  __mmask16 m;
};

HADAL_INLINE __mmask16 lanes_below(int64_t n) { return __mmask16((1u << n) - 1); }

HADAL_INLINE V broadcast(float x) { return {_mm512_set1_ps(x)}; }
HADAL_INLINE float first(V a) { return _mm512_cvtss_f32(a.v); }
HADAL_INLINE V iota() { return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }

HADAL_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
HADAL_INLINE V load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(lanes_below(n), p)}; }
HADAL_INLINE void store(float* p, V a) { _mm512_storeu_ps(p, a.v); }
HADAL_INLINE void store_n(float* p, V a, int64_t n) { _mm512_mask_storeu_ps(p, lanes_below(n), a.v); }

HADAL_INLINE V widen(__m256i x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))}; }
// The lower and the upper bf16 of every word.
HADAL_INLINE V lower_halves(V a) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a.v), 16))}; }
HADAL_INLINE V upper_halves(V a) {
  return {_mm512_and_ps(a.v, _mm512_castsi512_ps(_mm512_set1_epi32(int(0xffff0000))))};
}
// Round to nearest even; NaN becomes a quiet NaN of the same sign.
HADAL_INLINE __m256i narrow_exact(V a) {
  const __m512i bits = _mm512_castps_si512(a.v), top = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, is_nan, top, _mm512_set1_epi32(0x40)));
}
#if defined(HADAL_ISA_avx512_bf16)
HADAL_INLINE __m256i narrow(V a) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v)); }  // subnormals become 0
#else
HADAL_INLINE __m256i narrow(V a) { return narrow_exact(a); }
#endif
HADAL_INLINE V load(const bf16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
HADAL_INLINE V load_n(const bf16* p, int64_t n) { return widen(_mm256_maskz_loadu_epi16(lanes_below(n), p)); }
HADAL_INLINE void store(bf16* p, V a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a)); }
HADAL_INLINE void store_n(bf16* p, V a, int64_t n) { _mm256_mask_storeu_epi16(p, lanes_below(n), narrow(a)); }

// IEEE half, subnormals too: to nearest even, from 65520 on infinity, NaN a quiet NaN.
HADAL_INLINE V widen_f16(__m256i x) { return {_mm512_cvtph_ps(x)}; }
HADAL_INLINE __m256i narrow_f16(V a) { return _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT); }
HADAL_INLINE V load(const f16* p) { return widen_f16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
HADAL_INLINE V load_n(const f16* p, int64_t n) { return widen_f16(_mm256_maskz_loadu_epi16(lanes_below(n), p)); }
HADAL_INLINE void store(f16* p, V a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_f16(a)); }
HADAL_INLINE void store_n(f16* p, V a, int64_t n) { _mm256_mask_storeu_epi16(p, lanes_below(n), narrow_f16(a)); }

// FP8 E4M3: to nearest even, beyond 448 the largest code, NaN stays NaN.
HADAL_INLINE void store_e4m3(uint8_t* p, V a, int64_t n) {
  const __m512i bits = _mm512_castps_si512(a.v), magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(magnitude, 20), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(magnitude, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7ffff)));
  __m512i code = _mm512_srli_epi32(_mm512_sub_epi32(rounded, _mm512_set1_epi32(0x3c000000)), 20);
  // Below 2^-6 in units of 2^-9: adding 2^23 rounds to whole units, which then are the lowest bits.
  const __m512 units = _mm512_mul_ps(_mm512_castsi512_ps(magnitude), _mm512_set1_ps(0x1p9f));
  const __m512i small = _mm512_castps_si512(_mm512_add_ps(units, _mm512_set1_ps(0x1p23f)));
  code = _mm512_mask_and_epi32(code, _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(0x3c800000)), small,
                               _mm512_set1_epi32(0xff));
  code = _mm512_mask_mov_epi32(code, _mm512_cmpge_epi32_mask(magnitude, _mm512_set1_epi32(0x43e00000)),
                               _mm512_set1_epi32(0x7e));
  code = _mm512_mask_mov_epi32(code, _mm512_cmpgt_epi32_mask(magnitude, _mm512_set1_epi32(0x7f800000)),
                               _mm512_set1_epi32(0x7f));
  code = _mm512_or_si512(code, _mm512_and_si512(_mm512_srli_epi32(bits, 24), _mm512_set1_epi32(0x80)));
  _mm_mask_storeu_epi8(p, n >= 16 ? __mmask16(0xffff) : lanes_below(n), _mm512_cvtepi32_epi8(code));
}
// As a half of 2^-8 times its value, exactly, subnormal ones too: widening these takes no longer than others, while
// multiplying a subnormal float takes a hundred times as long.
HADAL_INLINE V load_e4m3(const uint8_t* p, int64_t n) {
  const __mmask16 lanes = n >= 16 ? __mmask16(0xffff) : lanes_below(n);
  const __m256i code = _mm256_cvtepu8_epi16(_mm_maskz_loadu_epi8(lanes, p)), largest = _mm256_set1_epi16(0x3f80);
  const __m256i rest = _mm256_and_si256(_mm256_slli_epi16(code, 7), largest);
  const __m256i magnitude =
      _mm256_mask_mov_epi16(rest, _mm256_cmpeq_epi16_mask(rest, largest), _mm256_set1_epi16(0x7e00));  // NaN
  const __m256i sign = _mm256_and_si256(_mm256_slli_epi16(code, 8), _mm256_set1_epi16(int16_t(0x8000)));
  return {_mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(magnitude, sign)), _mm512_set1_ps(0x1p8f))};
}

// Codes 2i and 2i + 1 of words that spread four (gemm_panels.h): sign and the rest where a bf16 of 2^-120 times their
// value has them, in the lower and the upper half; other bits are set too.
template <int i>
HADAL_INLINE __m512i spread_pair(V words) {
  const __m512i w = _mm512_castps_si512(words.v);
  if (i == 0) return w;
  constexpr int kSecondIfSet = 0xca;
  return _mm512_ternarylogic_epi32(_mm512_set1_epi32(0x00700070), _mm512_slli_epi32(w, 4), _mm512_ror_epi32(w, 4),
                                   kSecondIfSet);
}
// Code i of such words as a float of kCodeUnit times its value, exactly; a NaN's code as 480. Shifting makes only
// normal numbers: where subnormal codes may be among them (kMarked) these are looked up.
constexpr float kCodeUnit = 0x1p-8f;
constexpr int kFirstAndSecondOrThird = 0xea;  // a ternary logic's table
template <int i, bool kMarked>
HADAL_INLINE V widen_code(V words) {
  const __m512i pair = spread_pair<i / 2>(words), top = i % 2 == 0 ? _mm512_slli_epi32(pair, 16) : pair;
  const __m512i bits = _mm512_ternarylogic_epi32(top, _mm512_set1_epi32(int(0x87f00000)), _mm512_set1_epi32(0x38000000),
                                                 kFirstAndSecondOrThird);
  if (!kMarked) return {_mm512_castsi512_ps(bits)};
  const __m512 table = _mm512_setr_ps(0, 0x1p-17f, 0x2p-17f, 0x3p-17f, 0x4p-17f, 0x5p-17f, 0x6p-17f, 0x7p-17f, 0, 0, 0,
                                      0, 0, 0, 0, 0);  // 0 .. 7 times 2^-9 kCodeUnit
  const __mmask16 small = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x07800000));
  const __m512 found = _mm512_permutexvar_ps(_mm512_srli_epi32(bits, 20), table);
  const __m512 sign = _mm512_and_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(-0.0f));
  return {_mm512_mask_or_ps(_mm512_castsi512_ps(bits), small, sign, found)};
}
// Whole numbers -127 .. 127.
HADAL_INLINE void store_int8(int8_t* p, V a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

// 32-bit integers, and the bytes and halves of their words.
struct I {
  __m512i v;
};
HADAL_INLINE I load_bytes(const void* p) { return {_mm512_loadu_si512(p)}; }
HADAL_INLINE I broadcast_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
HADAL_INLINE I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
HADAL_INLINE V to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
HADAL_INLINE I lower_nibbles(I a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
HADAL_INLINE I upper_nibbles(I a) { return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))}; }
HADAL_INLINE I even_bytes(I a) { return {_mm512_and_si512(a.v, _mm512_set1_epi16(255))}; }
HADAL_INLINE I odd_bytes(I a) { return {_mm512_srli_epi16(a.v, 8)}; }
HADAL_INLINE I even_signed(I a) { return {_mm512_srai_epi16(_mm512_slli_epi16(a.v, 8), 8)}; }
HADAL_INLINE I odd_signed(I a) { return {_mm512_srai_epi16(a.v, 8)}; }
HADAL_INLINE I pairs(I a, I b) { return {_mm512_madd_epi16(a.v, b.v)}; }
HADAL_INLINE I pairs_of_bytes(I a, I b) { return {_mm512_maddubs_epi16(a.v, b.v)}; }
HADAL_INLINE I ones_of_16() { return {_mm512_set1_epi16(1)}; }

HADAL_INLINE V add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
HADAL_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
HADAL_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
HADAL_INLINE V div(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
HADAL_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a * b + c
HADAL_INLINE V nfma(V a, V b, V c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
HADAL_INLINE V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }                // b when either is NaN
HADAL_INLINE V min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }                // b when either is NaN
HADAL_INLINE V sqrt(V a) { return {_mm512_sqrt_ps(a.v)}; }
HADAL_INLINE V abs(V a) { return {_mm512_abs_ps(a.v)}; }
HADAL_INLINE V round(V a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

HADAL_INLINE M less(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
HADAL_INLINE M less_equal(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
HADAL_INLINE M equal(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
HADAL_INLINE M first_n(int64_t n) { return {lanes_below(n)}; }
HADAL_INLINE V select(M m, V yes, V no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
HADAL_INLINE bool any(M m) { return m.m != 0; }

// Pairs of lanes (2i, 2i+1), for complex arithmetic.
HADAL_INLINE V swap_pairs(V a) { return {_mm512_permute_ps(a.v, 0xb1)}; }
HADAL_INLINE V even_twice(V a) { return {_mm512_moveldup_ps(a.v)}; }
HADAL_INLINE V odd_twice(V a) { return {_mm512_movehdup_ps(a.v)}; }
HADAL_INLINE V fma_sub_add(V a, V b, V c) { return {_mm512_fmaddsub_ps(a.v, b.v, c.v)}; }  // even: a*b-c, odd: a*b+c
HADAL_INLINE V fma_add_sub(V a, V b, V c) { return {_mm512_fmsubadd_ps(a.v, b.v, c.v)}; }  // even: a*b+c, odd: a*b-c

HADAL_INLINE __m256 fold_add(V a) { return _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)); }
HADAL_INLINE __m256 fold_max(V a) { return _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)); }

HADAL_INLINE V scale_by_power(V a, V n) { return {_mm512_scalef_ps(a.v, n.v)}; }  // a * 2^n

// 2^x for x <= 127, relative error 1e-7; below -126 it is 0 or as good as. NaN stays NaN.
HADAL_INLINE V power_of_two(V x) {
  const V f{_mm512_reduce_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};  // x - floor(x)
  V p = broadcast(0.0018671305698070018f);
  p = fma(p, f, broadcast(0.0090170292532908310f));
  p = fma(p, f, broadcast(0.0557999138798263000f));
  p = fma(p, f, broadcast(0.2401644499368103800f));
  p = fma(p, f, broadcast(0.6931513118234258000f));
  p = fma(p, f, broadcast(1.0f));
  return {_mm512_scalef_ps(p.v, x.v)};  // p * 2^floor(x)
}

// Rows become columns: 4x4 within each 128-bit part, then the 4x4 of parts.
HADAL_INLINE void transpose(V (&x)[16]) {
  __m512 t[16], u[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88), b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88),
                 d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);
    x[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
    x[i + 4].v = _mm512_shuffle_f32x4(b, d, 0x88);
    x[i + 8].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    x[i + 12].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

#if defined(HADAL_PAIRS)
// 16 pairs of bf16, pair i in lane i; dot adds a.even * b.even and a.odd * b.odd to each float lane (one rounding each,
// subnormals are zero).
struct Pairs {
  __m512bh v;
};
HADAL_INLINE Pairs load_pairs(const bf16* p) { return {reinterpret_cast<__m512bh>(_mm512_loadu_si512(p))}; }
HADAL_INLINE Pairs load_pairs_n(const bf16* p, int64_t n) {  // the first n pairs
  return {reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi32(lanes_below(n), p))};
}
HADAL_INLINE V load_words(const bf16* p) { return {_mm512_loadu_ps(p)}; }
HADAL_INLINE V load_words_n(const bf16* p, int64_t n) {  // the first n bf16, 0 <= n < 2 kW
  return {_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(__mmask32((1u << n) - 1), p))};
}
// 32 codes as bf16, exactly; a NaN's stays one.
HADAL_INLINE __m512i widen_codes(__m256i codes) {
  constexpr int kFirstOrSecondAndThird = 0xf8;  // a ternary logic's table
  const __m512i code = _mm512_cvtepu8_epi16(codes), rest = _mm512_set1_epi16(0x07f0);
  const __m512i bits = _mm512_and_si512(_mm512_slli_epi16(code, 4), rest);
  const __m512i subnormal = _mm512_castsi128_si512(
      _mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));  // 0 .. 7 times 2^-9
  __m512i value = _mm512_add_epi16(bits, _mm512_set1_epi16(0x3c00));
  value =
      _mm512_mask_permutexvar_epi16(value, _mm512_testn_epi16_mask(bits, _mm512_set1_epi16(0x0780)), code, subnormal);
  value = _mm512_mask_mov_epi16(value, _mm512_cmpeq_epi16_mask(bits, rest), _mm512_set1_epi16(0x7fc0));
  return _mm512_ternarylogic_epi32(value, _mm512_slli_epi16(code, 8), _mm512_set1_epi16(int16_t(0x8000)),
                                   kFirstOrSecondAndThird);
}
HADAL_INLINE V load_words(const e4m3* p) {
  return {_mm512_castsi512_ps(widen_codes(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))))};
}
HADAL_INLINE V load_words_n(const e4m3* p, int64_t n) {
  return {_mm512_castsi512_ps(widen_codes(_mm256_maskz_loadu_epi8(__mmask32((1u << n) - 1), p)))};
}
HADAL_INLINE Pairs as_pairs(V a) { return {reinterpret_cast<__m512bh>(a.v)}; }  // the same bits
HADAL_INLINE V as_words(Pairs a) { return {reinterpret_cast<__m512>(a.v)}; }
HADAL_INLINE Pairs broadcast_pair(const bf16* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return {reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair))};
}
HADAL_INLINE Pairs interleave(V even, V odd) {  // rounds both; pair i = (even_i, odd_i)
  const __m512i low = _mm512_cvtepu16_epi32(narrow(even));
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow(odd)), 16);
  return {reinterpret_cast<__m512bh>(_mm512_or_si512(low, high))};
}
HADAL_INLINE Pairs interleave(__m256i even, __m256i odd) {  // 16 bf16 each, as they are
  const __m512i alternate = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                             37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  return {reinterpret_cast<__m512bh>(
      _mm512_permutex2var_epi16(_mm512_castsi256_si512(even), alternate, _mm512_castsi256_si512(odd)))};
}
HADAL_INLINE Pairs interleave(const bf16* even, const bf16* odd) {
  return interleave(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even)),
                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd)));
}
HADAL_INLINE Pairs interleave_n(const bf16* even, const bf16* odd, int64_t n) {  // the first n; odd null: zeros
  const __mmask16 lanes = lanes_below(n);
  return interleave(_mm256_maskz_loadu_epi16(lanes, even),
                    odd == nullptr ? _mm256_setzero_si256() : _mm256_maskz_loadu_epi16(lanes, odd));
}
HADAL_INLINE Pairs interleave(__m128i even, __m128i odd) {  // 16 codes each
  const __m256i codes = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
  return {reinterpret_cast<__m512bh>(widen_codes(codes))};
}
HADAL_INLINE Pairs interleave(const e4m3* even, const e4m3* odd) {
  return interleave(_mm_loadu_si128(reinterpret_cast<const __m128i*>(even)),
                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(odd)));
}
HADAL_INLINE Pairs interleave_n(const e4m3* even, const e4m3* odd, int64_t n) {
  const __mmask16 lanes = lanes_below(n);
  return interleave(_mm_maskz_loadu_epi8(lanes, even),
                    odd == nullptr ? _mm_setzero_si128() : _mm_maskz_loadu_epi8(lanes, odd));
}
// Codes 2i and 2i + 1 of words that spread four, likewise, as bf16.
template <int i, bool kMarked>
HADAL_INLINE V widen_code_pair(V words) {
  const __m512i pair = _mm512_ternarylogic_epi32(spread_pair<i>(words), _mm512_set1_epi32(int(0x87f087f0)),
                                                 _mm512_set1_epi32(0x38003800), kFirstAndSecondOrThird);
  if (!kMarked) return {_mm512_castsi512_ps(pair)};
  const __m512i table = _mm512_castsi128_si512(
      _mm_setr_epi16(0, 0x3700, 0x3780, 0x37c0, 0x3800, 0x3820, 0x3840, 0x3860));  // 0 .. 7 times 2^-9 kCodeUnit
  const __mmask32 small = _mm512_testn_epi16_mask(pair, _mm512_set1_epi16(0x0780));
  const __m512i found = _mm512_permutexvar_epi16(_mm512_srli_epi16(pair, 4), table);
  const __m512i sign = _mm512_and_si512(pair, _mm512_set1_epi16(int16_t(0x8000)));
  return {_mm512_castsi512_ps(_mm512_mask_mov_epi16(pair, small, _mm512_or_si512(sign, found)))};
}
HADAL_INLINE V dot(V sum, Pairs a, Pairs b) { return {_mm512_dpbf16_ps(sum.v, a.v, b.v)}; }
#endif

}  // namespace hadal::kernels::HADAL_ISA
