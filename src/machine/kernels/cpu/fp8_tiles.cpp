#include "kernels/fp8_tiles.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// The largest power of two that is not above it; 0 for subnormal numbers, and infinity is its own.
HADAL_INLINE float power_below(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  bits &= 0xff800000u;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

// Never subnormal, so the next power of two is one addition to its bits away.
HADAL_INLINE float scale_of(float amax, const Fp8Tiles& k) {
  const float largest = amax > k.smallest_amax ? amax : k.smallest_amax;
  if (largest == 0) return 1.0f;
  const float exact = k.ocp ? power_below(largest) * 0x1p-8f : largest / kLargestE4m3,
              scale = exact > kSmallestScale ? exact : kSmallestScale;
  uint32_t bits;
  __builtin_memcpy(&bits, &scale, 4);
  if (!k.power_of_two || bits >= 0x7f800000u) return scale;
  bits = (bits + 0x7fffffu) & 0xff800000u;
  float rounded;
  __builtin_memcpy(&rounded, &bits, 4);
  return rounded;
}

HADAL_INLINE void store_codes(uint8_t* p, V a, Full) { store_e4m3(p, a, kW); }
HADAL_INLINE void store_codes(uint8_t* p, V a, int64_t n) { store_e4m3(p, a, n); }
HADAL_INLINE V load_codes(const uint8_t* p, Full) { return load_e4m3(p, kW); }
HADAL_INLINE V load_codes(const uint8_t* p, int64_t n) { return load_e4m3(p, n); }

// The larger magnitude; a NaN changes nothing.
HADAL_INLINE V larger(V amax, V x) { return max(abs(x), amax); }

template <class T>
void encode_tile(const Fp8Band<T>& band, int64_t first, int64_t n_cols, float* to, const Fp8Tiles& k) {
  V amax = zero();
  for (int64_t r = 0; r < band.rows; ++r) {
    const T* x = band.values + r * band.values_stride + first;
    each_vector(n_cols, [&](int64_t c, auto n) { amax = larger(amax, load_lanes(x + c, n)); });
  }
  *to = scale_of(reduce_max(amax), k);
  const V scale = broadcast(*to);
  for (int64_t r = 0; r < band.rows; ++r) {
    const T* x = band.values + r * band.values_stride + first;
    uint8_t* codes = band.codes + r * band.codes_stride + first;
    each_vector(n_cols, [&](int64_t c, auto n) { store_codes(codes + c, div(load_lanes(x + c, n), scale), n); });
  }
}

// Tiles one column wide: a vector of them at once.
template <class T>
void encode_columns(const Fp8Band<T>& band, const Fp8Tiles& k) {
  each_vector(band.cols, [&](int64_t c, auto n) {
    V amax = zero();
    for (int64_t r = 0; r < band.rows; ++r)
      amax = larger(amax, load_lanes(band.values + r * band.values_stride + c, n));
    float scales[kW];
    store(scales, amax);
    for (int64_t i = 0; i < kW; ++i) scales[i] = scale_of(scales[i], k);
    const V scale = load(scales);
    store_lanes(band.scales + c, scale, n);
    for (int64_t r = 0; r < band.rows; ++r) {
      const T* x = band.values + r * band.values_stride + c;
      store_codes(band.codes + r * band.codes_stride + c, div(load_lanes(x, n), scale), n);
    }
  });
}

template <class T>
void encode(const Fp8Band<T>& band, const Fp8Tiles& k) {
  if (band.tile_cols == 1) return encode_columns(band, k);
  for (int64_t first = 0, tile = 0; first < band.cols; first += band.tile_cols, ++tile) {
    const int64_t left = band.cols - first, n = left < band.tile_cols ? left : band.tile_cols;
    encode_tile(band, first, n, band.scales + tile, k);
  }
}

template <class T>
void decode(const Fp8Band<T>& band) {
  for (int64_t r = 0; r < band.rows; ++r) {
    const uint8_t* codes = band.codes + r * band.codes_stride;
    T* x = band.values + r * band.values_stride;
    if (band.tile_cols == 1) {
      each_vector(band.cols, [&](int64_t c, auto n) {
        store_exact(x + c, mul(load_codes(codes + c, n), load_lanes(band.scales + c, n)), n);
      });
      continue;
    }
    for (int64_t first = 0, tile = 0; first < band.cols; first += band.tile_cols, ++tile) {
      const int64_t left = band.cols - first;
      const V scale = broadcast(band.scales[tile]);
      each_vector(left < band.tile_cols ? left : band.tile_cols, [&](int64_t c, auto n) {
        store_exact(x + first + c, mul(load_codes(codes + first + c, n), scale), n);
      });
    }
  }
}

}  // namespace

void fp8_encode(const Fp8Tiles& k) {
  visit_with<bf16>(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_band<T>(k, [&](const Fp8Band<T>& band) { encode(band, k); });
      },
      k.values.dtype);
}

void fp8_decode(const Fp8Tiles& k) {
  visit_with<bf16>(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_band<T>(k, [&](const Fp8Band<T>& band) { decode(band); });
      },
      k.values.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
