// Between values and E5M6 codes (base/float_formats.h) of rows in tiles of 128 columns, with one power of two per tile
// as E8M0: value = code * scale. Two planes: the upper 8 bits of each code, and the lower 4 of two neighbours in a
// byte, the even column's in its low half.
//   encode   a = max |x| of the tile; s = the next power of two of max(a / 65024, 2^-126), 1 where a = 0;
//            code = e5m6(x / s), to nearest even. A NaN stays one; a tile with an infinity becomes NaN.
//   decode   value = code * s
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

inline constexpr int64_t kE5m6Tile = 128;
inline constexpr float kLargestE5m6 = 65024.0f;

struct E5m6Tiles {
  Rows values;                // [rows, cols] f64, f32 or bf16
  uint8_t* upper = nullptr;   // [rows, cols]
  uint8_t* lower = nullptr;   // [rows, ceil(cols / 2)]
  uint8_t* scales = nullptr;  // [rows, ceil(cols / 128)] E8M0
  int64_t upper_stride = 0, lower_stride = 0, scales_stride = 0;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

template <class T>
struct E5m6Row {
  T* values;
  uint8_t *upper, *lower, *scales;
};
// Calls f(row) for every row, in parallel.
template <class T, class F>
void each_e5m6_row(const E5m6Tiles& k, F&& f) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    f(E5m6Row<T>{k.values.row<T>(r), k.upper + r * k.upper_stride, k.lower + r * k.lower_stride,
                 k.scales + r * k.scales_stride});
  });
}

// One tile, by the formula: for kernels that meet a NaN or an infinity.
namespace reference {
void e5m6_encode_tile(const float* x, uint8_t* upper, uint8_t* lower, uint8_t* scale, int64_t n);
void e5m6_encode_tile(const bf16* x, uint8_t* upper, uint8_t* lower, uint8_t* scale, int64_t n);
}  // namespace reference

HADAL_DECLARE_KERNEL(e5m6_encode, E5m6Tiles)
HADAL_DECLARE_KERNEL(e5m6_decode, E5m6Tiles)

}  // namespace hadal::kernels
