// Tiles of finite numbers, whose scales are no extremes and saturate nothing, are made without the precautions that the
// others need.
#include "kernels/fp8_tiles.h"

#include "kernels/cpu/codes.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// Below it remainders of a division may be no normal numbers.
constexpr float kPlainScale = 0x1p-60f;

// The largest power of two that is not above it; 0 for subnormal numbers, and infinity is its own.
HADAL_INLINE float power_below(float x) { return float_of(bits_of(x) & 0xff800000u); }

// Never subnormal, so the next power of two is one addition to its bits away.
HADAL_INLINE float scale_of(float amax, const Fp8Tiles& k) {
  const float largest = amax > k.smallest_amax ? amax : k.smallest_amax;
  if (largest == 0) return 1.0f;
  const float exact = k.ocp ? power_below(largest) * 0x1p-8f : largest / kLargestE4m3,
              scale = exact > kSmallestScale ? exact : kSmallestScale;
  return k.power_of_two && scale < float_of(kInfinityBits) ? next_power(scale) : scale;
}
// The same of finite numbers.
HADAL_INLINE V scales_of(V amax, const Fp8Tiles& k) {
  const V largest = max(amax, broadcast(k.smallest_amax));
  const V exact = max(div(largest, broadcast(kLargestE4m3)), broadcast(kSmallestScale));
  return select(equal(largest, zero()), broadcast(1.0f), k.power_of_two ? next_power(exact) : exact);
}

HADAL_INLINE void store_codes(uint8_t* p, V a, Full) { store_e4m3(p, a, kW); }
HADAL_INLINE void store_codes(uint8_t* p, V a, int64_t n) { store_e4m3(p, a, n); }
HADAL_INLINE int64_t lanes(Full) { return kW; }
HADAL_INLINE int64_t lanes(int64_t n) { return n; }
HADAL_INLINE V load_codes(const uint8_t* p, Full) { return load_e4m3(p, kW); }
HADAL_INLINE V load_codes(const uint8_t* p, int64_t n) { return load_e4m3(p, n); }

// The larger magnitude; a NaN changes nothing.
HADAL_INLINE V larger(V amax, V x) { return max(abs(x), amax); }

// Codes of finite numbers: scale(c) and inverse(c) are those of columns c .. of the part.
template <Quotient kHow, class T, class Scale, class Inverse>
HADAL_INLINE void store_quotients(const Fp8Band<T>& band, int64_t first, int64_t n_cols, Scale scale, Inverse inverse) {
  for (int64_t r = 0; r < band.rows; ++r) {
    const T* x = band.values + r * band.values_stride + first;
    uint8_t* codes = band.codes + r * band.codes_stride + first;
    each_vector(
        n_cols, [&](int64_t c, auto n) __attribute__((always_inline)) {
          const V value = load_lanes(x + c, n);
          store_finite_e4m3(codes + c, quotient<kHow>(value, scale(c), inverse(c)), value, lanes(n));
        });
  }
}
template <class T, class Scale, class Inverse>
HADAL_INLINE void encode_finite(const Fp8Band<T>& band, int64_t first, int64_t n_cols, const Fp8Tiles& k, Scale scale,
                                Inverse inverse) {
  constexpr Quotient kExact = sizeof(T) == 2 ? Quotient::corrected : Quotient::divided;
  if (k.power_of_two) return store_quotients<Quotient::product>(band, first, n_cols, scale, inverse);
  store_quotients<kExact>(band, first, n_cols, scale, inverse);
}

// Codes of a tile whose numbers may be anything.
template <class T>
void encode_any_tile(const Fp8Band<T>& band, int64_t first, int64_t n_cols, float* to, const Fp8Tiles& k) {
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

template <class T>
void encode_tile(const Fp8Band<T>& band, int64_t first, int64_t n_cols, float* to, const Fp8Tiles& k) {
  I most = bits_of(zero());
  for (int64_t r = 0; r < band.rows; ++r)
    most = fold_largest(most, band.values + r * band.values_stride + first, n_cols);
  const int32_t bits = largest_bits(most, T());
  if (bits >= kInfinityBits || k.ocp) return encode_any_tile(band, first, n_cols, to, k);
  *to = scale_of(float_of(uint32_t(bits)), k);
  if (*to < kPlainScale) return encode_any_tile(band, first, n_cols, to, k);
  const V scale = broadcast(*to), inverse = broadcast(1.0f / *to);
  encode_finite(
      band, first, n_cols, k, [&](int64_t) { return scale; }, [&](int64_t) { return inverse; });
}

// Tiles one column wide: a vector of them at once.
template <class T>
void encode_any_columns(const Fp8Band<T>& band, int64_t first, int64_t n_cols, const Fp8Tiles& k) {
  each_vector(n_cols, [&](int64_t i, auto n) {
    const int64_t c = first + i;
    V amax = zero();
    for (int64_t r = 0; r < band.rows; ++r)
      amax = larger(amax, load_lanes(band.values + r * band.values_stride + c, n));
    float scales[kW];
    store(scales, amax);
    for (int64_t j = 0; j < kW; ++j) scales[j] = scale_of(scales[j], k);
    const V scale = load(scales);
    store_lanes(band.scales + c, scale, n);
    for (int64_t r = 0; r < band.rows; ++r) {
      const T* x = band.values + r * band.values_stride + c;
      store_codes(band.codes + r * band.codes_stride + c, div(load_lanes(x, n), scale), n);
    }
  });
}

// Many of them, row by row, as they lie in memory.
constexpr int64_t kColumns = 1024;
template <class T>
void encode_columns(const Fp8Band<T>& band, int64_t first, int64_t n_cols, const Fp8Tiles& k) {
  if (k.ocp) return encode_any_columns(band, first, n_cols, k);
  alignas(64) T most[kColumns];
  alignas(64) float scales[kColumns], inverses[kColumns];
  const int64_t padded = (n_cols + kPerVector<T> - 1) / kPerVector<T> * kPerVector<T>;
  const int64_t whole = n_cols / kPerVector<T> * kPerVector<T>;
  for (int64_t c = 0; c < padded; c += kPerVector<T>) store_bytes(most + c, bits_of(zero()));
  for (int64_t r = 0; r < band.rows; ++r) {
    const T* x = band.values + r * band.values_stride + first;
    for (int64_t c = 0; c < whole; c += kPerVector<T>)
      store_bytes(most + c, larger(load_bytes(most + c), magnitudes(load_bytes(x + c), T()), T()));
    if (whole < n_cols) store_bytes(most + whole, fold_largest(load_bytes(most + whole), x + whole, n_cols - whole));
  }
  I all = bits_of(zero());
  V least_scale = broadcast(1.0f);
  for (int64_t c = 0; c < padded; c += kPerVector<T>) all = larger(all, load_bytes(most + c), T());
  for (int64_t c = 0; c < padded; c += kW) {
    const V scale = scales_of(load(most + c), k);
    least_scale = min(least_scale, scale);
    store(scales + c, scale), store(inverses + c, div(broadcast(1.0f), scale));
  }
  if (largest_bits(all, T()) >= kInfinityBits || any(less(least_scale, broadcast(kPlainScale))))
    return encode_any_columns(band, first, n_cols, k);
  __builtin_memcpy(band.scales + first, scales, size_t(n_cols) * sizeof(float));
  encode_finite(
      band, first, n_cols, k, [&](int64_t c) { return load(scales + c); },
      [&](int64_t c) { return load(inverses + c); });
}

template <class T>
void encode(const Fp8Band<T>& band, const Fp8Tiles& k) {
  const int64_t step = band.tile_cols == 1 ? kColumns : band.tile_cols;
  for (int64_t first = 0, tile = 0; first < band.cols; first += step, ++tile) {
    const int64_t left = band.cols - first, n = left < step ? left : step;
    band.tile_cols == 1 ? encode_columns(band, first, n, k) : encode_tile(band, first, n, band.scales + tile, k);
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
