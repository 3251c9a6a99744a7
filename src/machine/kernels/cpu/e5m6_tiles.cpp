// E5M6 codes of rows, a vector at a time: the last one of a row by way of a copy.
#include "kernels/e5m6_tiles.h"

#include "kernels/cpu/codes.h"
#include "kernels/fp8_tiles.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

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
void encode_row(const E5m6Row<T>& row, int64_t cols) {
  for (int64_t first = 0; first < cols; first += kE5m6Tile) {
    const int64_t n = cols - first < kE5m6Tile ? cols - first : kE5m6Tile;
    const T* x = row.values + first;
    uint8_t *upper = row.upper + first, *lower = row.lower + first / 2, *to = row.scales + first / kE5m6Tile;
    const int32_t bits = largest_bits(fold_largest(bits_of(zero()), x, n), T());
    if (bits >= kInfinityBits) {
      reference::e5m6_encode_tile(x, upper, lower, to, n);
      continue;
    }
    const float amax = float_of(uint32_t(bits)), exact = amax / kLargestE5m6;
    const float scale = next_power(amax == 0 ? 1.0f : exact > kSmallestScale ? exact : kSmallestScale);
    *to = uint8_t(bits_of(scale) >> 23);
    encode_tile(x, upper, lower, broadcast(1.0f / scale), n);
  }
}

template <class T>
void decode_row(const E5m6Row<T>& row, int64_t cols) {
  T* x = row.values;
  for (int64_t first = 0; first < cols; first += kE5m6Tile) {
    const int64_t end = cols - first < kE5m6Tile ? cols : first + kE5m6Tile;
    const V scale = broadcast(float_of(bits_of_e8m0(row.scales[first / kE5m6Tile])));
    int64_t c = first;
    for (; c + kW <= end; c += kW) store_exact(x + c, mul(load_e5m6(row.upper + c, row.lower + c / 2), scale), Full{});
    if (c == end) continue;
    uint8_t high[kW] = {}, low[kW / 2] = {};
    __builtin_memcpy(high, row.upper + c, size_t(end - c));
    __builtin_memcpy(low, row.lower + c / 2, size_t(end - c + 1) / 2);
    store_exact(x + c, mul(load_e5m6(high, low), scale), end - c);
  }
}

}  // namespace

void e5m6_encode(const E5m6Tiles& k) {
  visit_with<bf16>(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_e5m6_row<T>(k, [&](const E5m6Row<T>& row) { encode_row(row, k.cols); });
      },
      k.values.dtype);
}

void e5m6_decode(const E5m6Tiles& k) {
  visit_with<bf16>(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_e5m6_row<T>(k, [&](const E5m6Row<T>& row) { decode_row(row, k.cols); });
      },
      k.values.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
