// E5M6 codes of rows, a vector at a time: the last one of a row by way of a copy.
#include "kernels/e5m6_tiles.h"

#include "kernels/cpu/codes.h"
#include "kernels/fp8_tiles.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

HADAL_INLINE float e8m0_value(uint8_t bits) {
  const uint32_t word = bits == 255 ? 0x7fc00000u : bits == 0 ? 0x00400000u : uint32_t(bits) << 23;
  float value;
  __builtin_memcpy(&value, &word, 4);
  return value;
}

// One tile with a scale: what it divides is finite.
template <class T>
HADAL_INLINE void encode_tile(const T* x, uint8_t* upper, uint8_t* lower, V inverse, int64_t n) {
  int64_t c = 0;
  for (; c + kW <= n; c += kW) store_finite_e5m6(upper + c, lower + c / 2, mul(load(x + c), inverse));
  if (c == n) return;
  uint8_t high[kW], low[kW / 2];
  store_finite_e5m6(high, low, mul(load_n(x + c, n - c), inverse));
  __builtin_memcpy(upper + c, high, size_t(n - c));
  __builtin_memcpy(lower + c / 2, low, size_t(n - c + 1) / 2);
}

template <class T>
void encode_row(const T* x, uint8_t* upper, uint8_t* lower, uint8_t* scales, int64_t cols) {
  for (int64_t first = 0; first < cols; first += kE5m6Tile, ++scales) {
    const int64_t n = cols - first < kE5m6Tile ? cols - first : kE5m6Tile;
    const int32_t bits = largest_bits(fold_largest(bits_of(zero()), x + first, n), T());
    if (bits >= kInfinityBits) {
      reference::e5m6_encode_tile(x + first, upper + first, lower + first / 2, scales, n);
      continue;
    }
    float amax;
    __builtin_memcpy(&amax, &bits, 4);
    const float exact = amax / kLargestE5m6;
    const V scale = next_power(broadcast(amax == 0 ? 1.0f : exact > kSmallestScale ? exact : kSmallestScale));
    const float power = hadal::kernels::HADAL_ISA::first(scale);
    uint32_t word;
    __builtin_memcpy(&word, &power, 4);
    *scales = uint8_t(word >> 23);
    encode_tile(x + first, upper + first, lower + first / 2, broadcast(1.0f / power), n);
  }
}

template <class T>
void decode_row(T* x, const uint8_t* upper, const uint8_t* lower, const uint8_t* scales, int64_t cols) {
  for (int64_t first = 0; first < cols; first += kE5m6Tile, ++scales) {
    const int64_t end = cols - first < kE5m6Tile ? cols : first + kE5m6Tile;
    const V scale = broadcast(e8m0_value(*scales));
    int64_t c = first;
    for (; c + kW <= end; c += kW) store_exact(x + c, mul(load_e5m6(upper + c, lower + c / 2), scale), Full{});
    if (c == end) continue;
    uint8_t high[kW] = {}, low[kW / 2] = {};
    __builtin_memcpy(high, upper + c, size_t(end - c));
    __builtin_memcpy(low, lower + c / 2, size_t(end - c + 1) / 2);
    store_exact(x + c, mul(load_e5m6(high, low), scale), end - c);
  }
}

template <class F>
void each_row(const E5m6Tiles& k, F f) {
  parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

}  // namespace

void e5m6_encode(const E5m6Tiles& k) {
  visit_with<bf16>(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_row(k, [&](int64_t r) {
          encode_row(k.values.row<T>(r), k.upper + r * k.upper_stride, k.lower + r * k.lower_stride,
                     k.scales + r * k.scales_stride, k.cols);
        });
      },
      k.values.dtype);
}

void e5m6_decode(const E5m6Tiles& k) {
  visit_with<bf16>(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_row(k, [&](int64_t r) {
          decode_row(k.values.row<T>(r), k.upper + r * k.upper_stride, k.lower + r * k.lower_stride,
                     k.scales + r * k.scales_stride, k.cols);
        });
      },
      k.values.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
