// The thin vector layer: V holds kW floats, M one truth value per lane. A kernel under cpu/ is written once against it
// and compiled per instruction set into namespace hadal::kernels::HADAL_ISA. What each set must give stands in its own
// header; this one adds what can be said in those words. Everything is always inlined: no symbol leaves the object.
// Loads and stores need no alignment. x_n forms touch only the first n lanes (0 <= n <= kW); the rest load as 0. Scalar
// functions of libm (logf, sqrtf...) may be called as ::logf; nothing of std may be instantiated here (dispatch.h).
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "base/bf16.h"
#include "base/float_formats.h"
#include "kernels/exponential.h"

#define HADAL_INLINE static inline __attribute__((always_inline))

#if defined(HADAL_ISA_avx512_bf16) || defined(HADAL_ISA_avx512_amx)
#define HADAL_PAIRS 1  // products of bf16 pairs
#endif
#if defined(HADAL_ISA_avx2)
#include "kernels/cpu/simd_avx2.h"
#else
#include "kernels/cpu/simd_avx512.h"
#endif

namespace hadal::kernels::HADAL_ISA {

HADAL_INLINE V zero() { return broadcast(0.0f); }
HADAL_INLINE V load(const e4m3* p) { return load_e4m3(&p->bits, kW); }
HADAL_INLINE V load_n(const e4m3* p, int64_t n) { return load_e4m3(&p->bits, n); }
// As a store of this type rounds.
HADAL_INLINE V rounded(V a, float) { return a; }
HADAL_INLINE V rounded(V a, bf16) { return widen(narrow(a)); }
HADAL_INLINE V rounded(V a, f16) { return widen_f16(narrow_f16(a)); }
HADAL_INLINE V neg(V a) { return sub(broadcast(-0.0f), a); }

// The sum of all lanes in one fixed order: halves are folded until one lane is left.
HADAL_INLINE float reduce_add(V a) {
  const __m256 eight = fold_add(a);
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
HADAL_INLINE float reduce_max(V a) {
  const __m256 eight = fold_max(a);
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

// A square of kW rows, ld_from apart, becomes kW rows ld_to apart: to[c, r] = from[r, c].
HADAL_INLINE void transpose_block(float* to, int64_t ld_to, const float* from, int64_t ld_from) {
  V square[kW];
#pragma GCC unroll 16
  for (int i = 0; i < kW; ++i) square[i] = load(from + i * ld_from);
  transpose(square);
#pragma GCC unroll 16
  for (int i = 0; i < kW; ++i) store(to + i * ld_to, square[i]);
}

// e^x within 2 ulp. -inf and anything below -103.98 gives 0 (subnormal results are right), above 88.72 +inf, NaN stays
// NaN.
HADAL_INLINE V exp(V x) {
  // min and max return their second operand when either is NaN.
  const V clamped = min(broadcast(kExpHighest), max(broadcast(kExpLowest), x));
  const V n = round(mul(clamped, broadcast(kLog2OfE)));
  const V r = fma(n, broadcast(kMinusLn2Low), fma(n, broadcast(kMinusLn2High), clamped));
  V p = broadcast(kExp5);
  p = fma(p, r, broadcast(kExp4));
  p = fma(p, r, broadcast(kExp3));
  p = fma(p, r, broadcast(kExp2));
  p = fma(p, r, broadcast(kExp1));
  p = fma(p, r, broadcast(kExp0));
  return scale_by_power(fma(mul(r, r), p, add(r, broadcast(1.0f))), n);
}
HADAL_INLINE float exp_scalar(float x) {  // the same bits as a lane of exp
  return first(exp(broadcast(x)));
}
// log x, rounded from FP64, in the steps of the device's (cuda/numbers.h), so that both have the same bits: x = m 2^e
// with m in [1/sqrt 2, sqrt 2); log m = 2 s (1 + s^2/3 + s^4/5 ...), s = (m - 1) / (m + 1).
HADAL_INLINE float log_scalar(float x) {
  if (!(x > 0.0f)) return x == 0.0f ? -__builtin_inff() : __builtin_nanf("");
  if (x == __builtin_inff()) return x;
  const double wide = x;
  uint64_t bits;
  __builtin_memcpy(&bits, &wide, 8);
  int exponent = int(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
  double m;
  __builtin_memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) m *= 0.5, ++exponent;
  const double below = m + 1.0;
  double inverse = 1.0f / float(below);  // a device has no quick division in FP64
  inverse = __builtin_fma(inverse, __builtin_fma(-below, inverse, 1.0), inverse);
  inverse = __builtin_fma(inverse, __builtin_fma(-below, inverse, 1.0), inverse);
  const double s = (m - 1.0) * inverse, z = s * s;
  double series = 1.0 / 17;
  for (int odd = 15; odd > 0; odd -= 2) series = series * z + 1.0 / odd;
  return float(exponent * 0.69314718055994531 + 2.0 * s * series);
}
HADAL_INLINE V sigmoid(V x) { return div(broadcast(1.0f), add(broadcast(1.0f), exp(neg(x)))); }

// Host conversions for scalar tails; members of bf16 and f16 are inline functions and must not be used here
// (dispatch.h).
HADAL_INLINE float to_float(float x) { return x; }
HADAL_INLINE float to_float(bf16 x) {
  const uint32_t wide = uint32_t(x.bits) << 16;
  float value;
  __builtin_memcpy(&value, &wide, 4);
  return value;
}
HADAL_INLINE float to_float(f16 x) { return _cvtsh_ss(x.bits); }
HADAL_INLINE void store_scalar(float* p, float x) { *p = x; }
template <class T>
HADAL_INLINE void store_scalar(T* p, float x) {
  store_n(p, broadcast(x), 1);
}

}  // namespace hadal::kernels::HADAL_ISA
