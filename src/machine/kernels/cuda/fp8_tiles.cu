// Between values and FP8 E4M3 codes, a warp per tile.
#include "kernels/fp8_tiles.h"

#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

// A stack of matrices cut into tiles, as Fp8Tiles says.
template <class T>
struct Stack {
  T* values;
  uint8_t* codes;
  float* scales;
  int64_t values_stride, codes_stride, scales_stride, matrices, rows, cols, tile_rows, tile_cols;
};
template <class T>
Stack<T> stack_of(const Fp8Tiles& k) {
  return {static_cast<T*>(k.values.data),
          k.codes,
          k.scales,
          k.values.stride,
          k.codes_stride,
          k.scales_stride,
          k.matrices,
          k.rows,
          k.cols,
          k.tile_rows,
          k.tile_cols};
}
int64_t tiles_of(const Fp8Tiles& k) {
  return k.matrices * ((k.rows + k.tile_rows - 1) / k.tile_rows) * ((k.cols + k.tile_cols - 1) / k.tile_cols);
}

// One tile: where it begins, its size, its scale.
struct Tile {
  int64_t row, col, rows, cols;
  float* scale;
};
template <class T>
__device__ Tile tile_at(const Stack<T>& s, int64_t number) {
  const int64_t across = (s.cols + s.tile_cols - 1) / s.tile_cols, bands = (s.rows + s.tile_rows - 1) / s.tile_rows;
  const int64_t band = number / across, first = band % bands * s.tile_rows, col = number % across * s.tile_cols;
  const int64_t rows = s.rows - first, cols = s.cols - col;
  return {band / bands * s.rows + first, col, rows < s.tile_rows ? rows : s.tile_rows,
          cols < s.tile_cols ? cols : s.tile_cols, s.scales + band * s.scales_stride + number % across};
}
// f(row, column) for this lane's elements of the tile.
template <class F>
__device__ void each_of_tile(const Tile& tile, F f) {
  const int64_t count = tile.rows * tile.cols;
  for (int64_t i = lane_index(); i < count; i += kWarp) f(tile.row + i / tile.cols, tile.col + i % tile.cols);
}

template <class T>
__global__ void __launch_bounds__(kBlock) encode_tiles(Stack<T> s, int64_t tiles, float smallest, bool power_of_two,
                                                       bool ocp) {
  const int64_t number = row_of_warp();
  if (number >= tiles) return;
  const Tile tile = tile_at(s, number);
  float amax = 0;
  each_of_tile(tile, [&](int64_t r, int64_t c) {
    amax = larger(magnitude_of(value_of(s.values[r * s.values_stride + c])), amax);  // a NaN changes nothing
  });
  for (int bits = kWarp / 2; bits > 0; bits /= 2) amax = larger(shuffle_xor(amax, bits), amax);
  const float scale = scale_of(amax, smallest, power_of_two, ocp);
  if (lane_index() == 0) *tile.scale = scale;
  each_of_tile(tile, [&](int64_t r, int64_t c) {
    s.codes[r * s.codes_stride + c] = e4m3_code(value_of(s.values[r * s.values_stride + c]) / scale);
  });
}

template <class T>
__global__ void __launch_bounds__(kBlock) decode_tiles(Stack<T> s, int64_t tiles) {
  const int64_t number = row_of_warp();
  if (number >= tiles) return;
  const Tile tile = tile_at(s, number);
  const float scale = *tile.scale;
  each_of_tile(tile, [&](int64_t r, int64_t c) {
    put(s.values + r * s.values_stride + c, e4m3_value(s.codes[r * s.codes_stride + c]) * scale);
  });
}

}  // namespace

void fp8_encode(DeviceStream stream, const Fp8Tiles& k) {
  visit(
      "fp8_encode",
      [&](auto type) {
        using T = element<decltype(type)>;
        launch(encode_tiles<T>, over_rows("fp8_encode", tiles_of(k), stream), stack_of<T>(k), tiles_of(k),
               k.smallest_amax, k.power_of_two, k.ocp);
      },
      k.values.dtype);
}

void fp8_decode(DeviceStream stream, const Fp8Tiles& k) {
  visit(
      "fp8_decode",
      [&](auto type) {
        using T = element<decltype(type)>;
        launch(decode_tiles<T>, over_rows("fp8_decode", tiles_of(k), stream), stack_of<T>(k), tiles_of(k));
      },
      k.values.dtype);
}

}  // namespace hadal::kernels::cuda
