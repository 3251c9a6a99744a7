// Arithmetic of the device's kernels: number formats, and functions that have the bits of the vector kernels on AVX2
// (cpu/simd.h, cpu/simd_avx2.h), step for step.
#pragma once
#include "base/bf16.h"
#include "kernels/cuda/hopper/simt.h"
#include "kernels/exponential.h"
#include "kernels/power_of_two.h"

namespace hadal::kernels::cuda {

__device__ inline float value_of(float x) { return x; }
__device__ inline float value_of(bf16 x) { return float_of(uint32_t(x.bits) << 16); }

// Rounded to nearest even; a NaN stays one, quiet.
__device__ inline uint32_t bf16_bits(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
__device__ inline void put(float* to, float x) { *to = x; }
__device__ inline void put(bf16* to, float x) { to->bits = uint16_t(bf16_bits(x)); }
__device__ inline float rounded(float x, float) { return x; }
__device__ inline float rounded(float x, bf16) { return float_of(bf16_bits(x) << 16); }

__device__ inline float larger(float a, float b) { return a > b ? a : b; }   // b when either is NaN
__device__ inline float smaller(float a, float b) { return a < b ? a : b; }  // b when either is NaN
__device__ inline float infinity() { return float_of(0x7f800000u); }
__device__ inline bool is_finite(float x) { return (bits_of(x) & 0x7f800000u) != 0x7f800000u; }

// a * 2^n for integral n in [-151, 129], in two steps so that neither power overflows.
__device__ inline float scale_by_power(float a, float n) {
  const int whole = to_int(n), half = whole >> 1;
  return a * float_of(uint32_t(half + 127) << 23) * float_of(uint32_t(whole - half + 127) << 23);
}

__device__ inline float exponential(float x) {
  const float clamped = smaller(kExpHighest, larger(kExpLowest, x));
  const float n = round_even(clamped * kLog2OfE);
  const float r = fused(n, kMinusLn2Low, fused(n, kMinusLn2High, clamped));
  float p = kExp5;
  p = fused(p, r, kExp4);
  p = fused(p, r, kExp3);
  p = fused(p, r, kExp2);
  p = fused(p, r, kExp1);
  p = fused(p, r, kExp0);
  return scale_by_power(fused(r * r, p, r + 1.0f), n);
}
// 2^x for x <= 127, relative error 1e-7; below -126 it is 2^-126.
__device__ inline float power_of_two(float x) {
  x = larger(kPowerLowest, x);
  const float n = round_even(x), f = x - n;
  float p = kPower5;
  p = fused(p, f, kPower4);
  p = fused(p, f, kPower3);
  p = fused(p, f, kPower2);
  p = fused(p, f, kPower1);
  p = fused(p, f, kPower0);
  return float_of(bits_of(p) + (uint32_t(to_int(n)) << 23));
}
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// log x, rounded from FP64, in the steps of the CPU's (cpu/simd.h), so that both have the same bits: x = m 2^e with m
// in [1/sqrt 2, sqrt 2); log m = 2 s (1 + s^2/3 + s^4/5 ...), s = (m - 1) / (m + 1).
__device__ inline float logarithm(float x) {
  if (!(x > 0.0f)) return x == 0.0f ? -infinity() : x - x + float_of(0x7fc00000u);
  if (!is_finite(x)) return x;
  const uint64_t bits = bits_of(double(x));
  int exponent = int(bits >> 52) - 1023;
  double m = double_of((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) m *= 0.5, ++exponent;
  // 1 / (m + 1) from FP32 by two steps of Newton's: a division in FP64 is a call, around which registers are spilled.
  const double below = m + 1.0;
  double inverse = 1.0f / float(below);
  inverse = fused(inverse, fused(-below, inverse, 1.0), inverse);
  inverse = fused(inverse, fused(-below, inverse, 1.0), inverse);
  const double s = (m - 1.0) * inverse, z = s * s;
  double series = 1.0 / 17;
  for (int odd = 15; odd > 0; odd -= 2) series = series * z + 1.0 / odd;
  return float(exponent * 0.69314718055994531 + 2.0 * s * series);
}

}  // namespace hadal::kernels::cuda
