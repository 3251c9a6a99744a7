// Conversions between F32 and BF16, of scales between F32 and E8M0, copies within any format, and zeros. Other pairs of
// formats are the host's.
#include "kernels/convert.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class Y, class X>
__global__ void __launch_bounds__(kBlock) convert_elements(Lines<Y> y, Lines<X> x, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) { put(y.row(r) + c, value_of(x.row(r)[c])); });
}

// Scales that are powers of two from 2^-126 on, or infinite, which becomes the byte's NaN as NaN does: their exponent.
__global__ void __launch_bounds__(kBlock) narrow_scales(Lines<uint8_t> y, Lines<float> x, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) { y.row(r)[c] = uint8_t(bits_of(x.row(r)[c]) >> 23); });
}
__global__ void __launch_bounds__(kBlock) widen_scales(Lines<float> y, Lines<uint8_t> x, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) {
    const uint32_t scale = x.row(r)[c];
    y.row(r)[c] = float_of(scale == 0xff ? 0x7fc00000u : scale == 0 ? 0x400000u : scale << 23);
  });
}

template <class T>
__global__ void __launch_bounds__(kBlock) zero_words(Lines<T> y, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) { y.row(r)[c] = 0; });
}

// Calls f(Tag<T>) with the integer of the format's size.
template <class F>
void with_word(DType dtype, F&& f) {
  switch (dtype_bytes(dtype)) {
    case 8: return f(Tag<uint64_t>{});
    case 4: return f(Tag<uint32_t>{});
    case 2: return f(Tag<uint16_t>{});
    default: return f(Tag<uint8_t>{});
  }
}

}  // namespace

void convert(DeviceStream stream, const Convert& k) {
  const Launch how = over_elements("convert", k.rows, k.cols, stream);
  if (k.x.dtype == k.y.dtype) {
    return with_word(k.x.dtype, [&](auto word) {
      using T = element<decltype(word)>;
      launch(copy_elements<T>, how, lines<T>(k.y), lines<T>(k.x), k.rows, k.cols);
    });
  }
  if (k.x.dtype == DType::f32 && k.y.dtype == DType::f8_e8m0)
    return launch(narrow_scales, how, lines<uint8_t>(k.y), lines<float>(k.x), k.rows, k.cols);
  if (k.x.dtype == DType::f8_e8m0 && k.y.dtype == DType::f32)
    return launch(widen_scales, how, lines<float>(k.y), lines<uint8_t>(k.x), k.rows, k.cols);
  visit(
      "convert",
      [&](auto y, auto x) {
        using Y = element<decltype(y)>;
        using X = element<decltype(x)>;
        launch(convert_elements<Y, X>, how, lines<Y>(k.y), lines<X>(k.x), k.rows, k.cols);
      },
      k.y.dtype, k.x.dtype);
}

void zero_rows(DeviceStream stream, const ZeroRows& k) {
  with_word(k.y.dtype, [&](auto word) {
    using T = element<decltype(word)>;
    launch(zero_words<T>, over_elements("zero_rows", k.rows, k.cols, stream), lines<T>(k.y), k.rows, k.cols);
  });
}

}  // namespace hadal::kernels::cuda
