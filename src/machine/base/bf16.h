// bfloat16 on the host: the upper 16 bits of a float; conversion rounds to nearest even, NaN stays NaN (quiet).
#pragma once
#include <cstdint>
#include <cstring>

namespace hadal {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  explicit bf16(float value) : bits(round(value)) {}
  explicit operator float() const {
    uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
  }
  static uint16_t round(float value) {
    uint32_t u;
    std::memcpy(&u, &value, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return uint16_t((u >> 16) | 0x40u);
    return uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};
static_assert(sizeof(bf16) == 2);

}  // namespace hadal
