// Between values and FP8 E4M3 codes with one FP32 scale per tile (§3.5): value = code * scale of its tile.
// A stack of matrices; tiles at the right and lower edge may be partial, none crosses from one matrix into the next.
//   encode   a = max(amax of the tile, smallest_amax); s = max(a / 448, 2^-126), or the next power of two, and 1
//            where a = 0; by OCP's rule max(2^(floor(log2 a) - 8), 2^-126); code = e4m3(x / s), to nearest even. A NaN
//            stays one; a tile with an infinity becomes zeros and NaN.
//   decode   value = code * s, rounded once to f32 (and once more to bf16), exact in f64
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

inline constexpr float kLargestE4m3 = 448.0f, kSmallestScale = 0x1p-126f;

struct Fp8Tiles {
  Rows values;  // [matrices * rows, cols] f64, f32 or bf16
  uint8_t* codes = nullptr;
  float* scales = nullptr;  // a row per band of tiles
  int64_t codes_stride = 0, scales_stride = 0;
  int64_t matrices = 1, rows = 0, cols = 0, tile_rows = 1, tile_cols = 128;
  bool power_of_two = false, ocp = false;  // ocp: the power of two below, which may saturate codes
  float smallest_amax = 0;
  Lane* lane = nullptr;
};

// One band of tiles: rows of codes and of values, and one row of scales.
template <class T>
struct Fp8Band {
  T* values;
  uint8_t* codes;
  float* scales;
  int64_t values_stride, codes_stride, rows, cols, tile_cols;
};

// Calls f(band) for every band of tiles of every matrix, on all threads.
template <class T, class F>
void each_band(const Fp8Tiles& k, F&& f) {
  const int64_t bands = (k.rows + k.tile_rows - 1) / k.tile_rows;
  parallel_blocks(k.lane, k.matrices * bands, rows_per_task(k.cols * k.tile_rows), [&](int64_t band, int64_t end) {
    for (; band < end; ++band) {
      const int64_t first = band % bands * k.tile_rows, row = band / bands * k.rows + first, left = k.rows - first;
      f(Fp8Band<T>{k.values.row<T>(row), k.codes + row * k.codes_stride, k.scales + band * k.scales_stride,
                   k.values.stride, k.codes_stride, left < k.tile_rows ? left : k.tile_rows, k.cols, k.tile_cols});
    }
  });
}

HADAL_DECLARE_KERNEL(fp8_encode, Fp8Tiles)
HADAL_DECLARE_KERNEL(fp8_decode, Fp8Tiles)

}  // namespace hadal::kernels
