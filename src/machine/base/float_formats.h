// Small floating formats of the host beside bf16: IEEE half (f16), FP8 E4M3FN (no infinity, NaN = 0x7f, largest 448),
// the 12-bit E5M6 (the upper bits of a half: largest 65024 = 0x7bf, smallest normal 2^-14, subnormals of 2^-20) and the
// scale format E8M0 (powers of two from 2^-127 to 2^127, NaN = 0xff; no sign, no zero). Conversions round to nearest
// even. f16 overflows to infinity as IEEE says; e4m3 and e5m6 saturate, as quantisers need; e8m0 rounds up to the next
// power of two, as scales must (a smaller one would saturate what it divides).
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace hadal {

struct f16 {
  uint16_t bits;

  f16() = default;
  explicit f16(float value) : bits(round(value)) {}
  explicit operator float() const {
    const uint32_t sign = uint32_t(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, mantissa = bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in float
      const float magnitude = float(mantissa) * 0x1p-24f;
      return sign ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | (exponent + 112u) << 23 | mantissa << 13);
  }
  static uint16_t round(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value), magnitude = u & 0x7fffffffu;
    const uint16_t sign = uint16_t(u >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));  // quiet NaN
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);                              // 65520 and above
    if (magnitude < 0x38800000u)  // below 2^-14: units of 2^-24
      return uint16_t(sign | uint16_t(std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p24f)));
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return uint16_t(sign | uint16_t((rounded - 0x38000000u) >> 13));
  }
};
static_assert(sizeof(f16) == 2);

struct e4m3 {
  uint8_t bits;

  e4m3() = default;
  explicit e4m3(float value) : bits(round(value)) {}
  explicit operator float() const {
    const uint32_t sign = uint32_t(bits & 0x80u) << 24, exponent = (bits >> 3) & 15u, mantissa = bits & 7u;
    if ((bits & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
    if (exponent == 0) {
      const float magnitude = float(mantissa) * 0x1p-9f;
      return sign ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | (exponent + 120u) << 23 | mantissa << 20);
  }
  static uint8_t round(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value), magnitude = u & 0x7fffffffu;
    const uint8_t sign = uint8_t(u >> 24 & 0x80u);
    if (magnitude > 0x7f800000u) return uint8_t(sign | 0x7fu);
    if (magnitude >= 0x43e00000u) return uint8_t(sign | 0x7eu);  // 448 and above, infinity too
    if (magnitude < 0x3c800000u)                                 // below 2^-6: units of 2^-9
      return uint8_t(sign | uint8_t(std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p9f)));
    const uint32_t rounded = magnitude + 0x7ffffu + (magnitude >> 20 & 1u);
    return uint8_t(sign | uint8_t((rounded - 0x3c000000u) >> 20));
  }
};
static_assert(sizeof(e4m3) == 1);

struct e5m6 {
  uint16_t bits;  // of 12

  e5m6() = default;
  explicit e5m6(float value) : bits(round(value)) {}
  explicit operator float() const {
    f16 half;
    half.bits = uint16_t(bits << 4);
    return float(half);
  }
  static uint16_t round(float value) {  // once, from FP32: by way of a half it would round twice
    const uint32_t u = std::bit_cast<uint32_t>(value), magnitude = u & 0x7fffffffu;
    const uint16_t sign = uint16_t(u >> 20 & 0x800u);
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e0u);   // quiet NaN
    if (magnitude >= 0x477e0000u) return uint16_t(sign | 0x7bfu);  // 65024 and above, infinity too
    if (magnitude < 0x38800000u)                                   // below 2^-14: units of 2^-20
      return uint16_t(sign | uint16_t(std::nearbyint(std::bit_cast<float>(magnitude) * 0x1p20f)));
    const uint32_t rounded = magnitude + 0xffffu + (magnitude >> 17 & 1u);
    return uint16_t(sign | uint16_t((rounded - 0x38000000u) >> 17));
  }
};
static_assert(sizeof(e5m6) == 2);

struct e8m0 {
  uint8_t bits;

  e8m0() = default;
  explicit e8m0(float value) : bits(round_up(value)) {}
  explicit operator float() const {
    if (bits == 0xffu) return std::bit_cast<float>(0x7fc00000u);
    return bits == 0 ? 0x1p-127f : std::bit_cast<float>(uint32_t(bits) << 23);
  }
  static uint8_t round_up(float value) {  // NaN, infinity and negative values have no code but NaN
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if (u > 0x7f000000u && u != 0x80000000u) return 0xff;  // above 2^127, NaN, infinity, negative
    if (value <= 0x1p-127f) return 0;
    const uint32_t exponent = u >> 23, fraction = u & 0x7fffffu;
    if (exponent == 0) return 1;  // between 2^-127 and 2^-126
    return uint8_t(exponent + (fraction != 0 ? 1u : 0u));
  }
};
static_assert(sizeof(e8m0) == 1);

}  // namespace hadal
