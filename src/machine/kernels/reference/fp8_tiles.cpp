// The quantiser, tile by tile.
#include "kernels/fp8_tiles.h"

#include <algorithm>
#include <cmath>

#include "base/float_formats.h"
#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

float scale_of(float amax, const Fp8Tiles& k) {
  const float largest = std::max(amax, k.smallest_amax);
  if (largest == 0) return 1.0f;
  if (k.ocp)
    return std::max(std::isfinite(largest) ? std::exp2(float(std::ilogb(largest) - 8)) : largest, kSmallestScale);
  const float scale = std::max(largest / kLargestE4m3, kSmallestScale);
  if (!k.power_of_two || !std::isfinite(scale)) return scale;
  int exponent = 0;
  const float fraction = std::frexp(scale, &exponent);  // scale = fraction * 2^exponent, fraction in [0.5, 1)
  return std::ldexp(1.0f, fraction == 0.5f ? exponent - 1 : exponent);
}

float code_value(uint8_t bits) {
  e4m3 code;
  code.bits = bits;
  return float(code);
}

template <class T>
void encode(const Fp8Band<T>& band, const Fp8Tiles& k) {
  for (int64_t first = 0, tile = 0; first < band.cols; first += band.tile_cols, ++tile) {
    const int64_t end = std::min(band.cols, first + band.tile_cols);
    float amax = 0;
    for (int64_t r = 0; r < band.rows; ++r) {
      for (int64_t c = first; c < end; ++c) {
        const float magnitude = std::fabs(float(band.values[r * band.values_stride + c]));
        if (magnitude > amax) amax = magnitude;
      }
    }
    const float scale = scale_of(amax, k);
    band.scales[tile] = scale;
    for (int64_t r = 0; r < band.rows; ++r) {
      for (int64_t c = first; c < end; ++c)
        band.codes[r * band.codes_stride + c] = e4m3::round(float(band.values[r * band.values_stride + c]) / scale);
    }
  }
}

template <class T>
void decode(const Fp8Band<T>& band) {
  for (int64_t r = 0; r < band.rows; ++r) {
    for (int64_t c = 0; c < band.cols; ++c) {
      const accumulator<T> code = code_value(band.codes[r * band.codes_stride + c]);
      band.values[r * band.values_stride + c] = T(code * accumulator<T>(band.scales[c / band.tile_cols]));
    }
  }
}

}  // namespace

void fp8_encode(const Fp8Tiles& k) {
  visit_numbers(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_band<T>(k, [&](const Fp8Band<T>& band) { encode(band, k); });
      },
      k.values.dtype);
}

void fp8_decode(const Fp8Tiles& k) {
  visit_numbers(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_band<T>(k, [&](const Fp8Band<T>& band) { decode(band); });
      },
      k.values.dtype);
}

}  // namespace hadal::kernels::reference
