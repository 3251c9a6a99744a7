// FP8 E4M3 codes and their scales on the device, as on the CPU (base/float_formats.h, cpu/fp8_tiles.cpp).
#pragma once
#include "kernels/cuda/numbers.h"
#include "kernels/fp8_tiles.h"

namespace hadal::kernels::cuda {

__device__ inline float magnitude_of(float x) { return float_of(bits_of(x) & 0x7fffffffu); }

// To nearest even; 448 and above the largest code, a NaN stays one.
__device__ inline uint8_t e4m3_code(float x) {
  const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffffu, sign = bits >> 24 & 0x80u;
  if (magnitude > 0x7f800000u) return uint8_t(sign | 0x7fu);
  if (magnitude >= 0x43e00000u) return uint8_t(sign | 0x7eu);
  if (magnitude < 0x3c800000u)  // below 2^-6 in units of 2^-9: adding 2^23 rounds to whole units, the lowest bits then
    return uint8_t(sign | (bits_of(float_of(magnitude) * 0x1p9f + 0x1p23f) & 0xffu));
  return uint8_t(sign | (magnitude + 0x7ffffu + (magnitude >> 20 & 1u) - 0x3c000000u) >> 20);
}

// The code's bits as a float's exponent and fraction, times 2^120: exact, subnormal codes too.
__device__ inline float e4m3_value(uint8_t code) {
  const uint32_t sign = uint32_t(code & 0x80u) << 24, rest = uint32_t(code & 0x7fu) << 20;
  const uint32_t magnitude = rest == 0x7f00000u ? 0x7fc00000u : bits_of(float_of(rest) * 0x1p120f);
  return float_of(magnitude | sign);
}

// max(amax, smallest) / 448, or the next power of two: never subnormal, so that is one addition to its bits away. By
// OCP's rule the power of two below amax, times 2^-8.
__device__ inline float scale_of(float amax, float smallest, bool power_of_two, bool ocp) {
  const float largest = amax > smallest ? amax : smallest;
  if (largest == 0) return 1.0f;
  const float exact = ocp ? float_of(bits_of(largest) & 0xff800000u) * 0x1p-8f : largest / kLargestE4m3,
              scale = exact > kSmallestScale ? exact : kSmallestScale;
  const uint32_t bits = bits_of(scale);
  return power_of_two && bits < 0x7f800000u ? float_of((bits + 0x7fffffu) & 0xff800000u) : scale;
}

}  // namespace hadal::kernels::cuda
