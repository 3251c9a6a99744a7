// E5M6 codes of rows, tile by tile.
#include "kernels/e5m6_tiles.h"

#include <algorithm>
#include <cmath>

#include "base/float_formats.h"
#include "kernels/fp8_tiles.h"
#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

e8m0 e5m6_scale(float amax) {
  return e8m0(amax == 0 ? 1.0f : std::max(amax / kLargestE5m6, kSmallestScale));  // rounds up; infinity is its NaN
}

template <class T>
void encode_tile(const T* x, uint8_t* upper, uint8_t* lower, uint8_t* to, int64_t n) {
  float amax = 0;
  for (int64_t c = 0; c < n; ++c) {
    const float magnitude = std::fabs(float(x[c]));
    if (magnitude > amax) amax = magnitude;
  }
  const e8m0 scale = e5m6_scale(amax);
  *to = scale.bits;
  for (int64_t c = 0; c < n; ++c) {
    const uint16_t code = e5m6::round(float(x[c]) / float(scale));
    upper[c] = uint8_t(code >> 4);
    uint8_t& pair = lower[c / 2];
    pair = c % 2 == 0 ? uint8_t(code & 15u) : uint8_t(pair | (code & 15u) << 4);
  }
}

template <class T>
void encode_row(const E5m6Row<T>& row, int64_t cols) {
  for (int64_t first = 0; first < cols; first += kE5m6Tile)
    encode_tile(row.values + first, row.upper + first, row.lower + first / 2, row.scales + first / kE5m6Tile,
                std::min(cols - first, kE5m6Tile));
}

template <class T>
void decode_row(const E5m6Row<T>& row, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) {
    e5m6 code;
    code.bits = uint16_t(row.upper[c] << 4 | (row.lower[c / 2] >> (c % 2 == 0 ? 0 : 4) & 15));
    e8m0 scale;
    scale.bits = row.scales[c / kE5m6Tile];
    row.values[c] = T(accumulator<T>(float(code)) * accumulator<T>(float(scale)));
  }
}

}  // namespace

void e5m6_encode_tile(const float* x, uint8_t* upper, uint8_t* lower, uint8_t* scale, int64_t n) {
  encode_tile(x, upper, lower, scale, n);
}
void e5m6_encode_tile(const bf16* x, uint8_t* upper, uint8_t* lower, uint8_t* scale, int64_t n) {
  encode_tile(x, upper, lower, scale, n);
}

void e5m6_encode(const E5m6Tiles& k) {
  visit_numbers(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_e5m6_row<T>(k, [&](const E5m6Row<T>& row) { encode_row(row, k.cols); });
      },
      k.values.dtype);
}

void e5m6_decode(const E5m6Tiles& k) {
  visit_numbers(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_e5m6_row<T>(k, [&](const E5m6Row<T>& row) { decode_row(row, k.cols); });
      },
      k.values.dtype);
}

}  // namespace hadal::kernels::reference
