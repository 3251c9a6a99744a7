// Both conversions are the plain formula, tile by tile, for every format that activations and weights have.
#include "tensor/quantised.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/float_formats.h"

namespace hadal {
namespace {

constexpr float kLargestCode = 448.0f, kSmallestAmax = 1e-4f;

int64_t tiles(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

Shape scale_shape(const Shape& shape, Tile tile) {
  check(shape.size() == 2 || shape.size() == 3, ErrorKind::internal, "codes of shape {}: a matrix or a stack of them",
        shape_text(shape));
  check(tile.rows > 0 && tile.cols > 0, ErrorKind::internal, "tiles of {} x {}", tile.rows, tile.cols);
  Shape result = shape;
  result[shape.size() - 2] = tiles(shape[shape.size() - 2], tile.rows);
  result.back() = tiles(shape.back(), tile.cols);
  return result;
}

float scale_of(float amax, ScaleRule rule) {
  const float scale = std::max(amax, kSmallestAmax) / kLargestCode;
  if (rule == ScaleRule::exact || !std::isfinite(scale)) return scale;
  int exponent = 0;
  const float fraction = std::frexp(scale, &exponent);  // scale = fraction * 2^exponent, fraction in [0.5, 1)
  return std::ldexp(1.0f, fraction == 0.5f ? exponent - 1 : exponent);
}

// One band of tiles: rows of codes and of the tensor, and one row of scales.
template <class T>
struct Band {
  T* values;
  e4m3* codes;
  float* scales;
  int64_t values_stride, codes_stride, rows, cols, tile_cols;
};

template <class T>
void encode(const Band<T>& band, ScaleRule rule) {
  for (int64_t first = 0, tile = 0; first < band.cols; first += band.tile_cols, ++tile) {
    const int64_t end = std::min(band.cols, first + band.tile_cols);
    float amax = 0;
    for (int64_t r = 0; r < band.rows; ++r) {
      for (int64_t c = first; c < end; ++c) {
        const float magnitude = std::fabs(float(band.values[r * band.values_stride + c]));
        if (magnitude > amax) amax = magnitude;
      }
    }
    const float scale = scale_of(amax, rule);
    band.scales[tile] = scale;
    for (int64_t r = 0; r < band.rows; ++r) {
      for (int64_t c = first; c < end; ++c)
        band.codes[r * band.codes_stride + c] = e4m3(float(band.values[r * band.values_stride + c]) / scale);
    }
  }
}

template <class T>
void decode(const Band<T>& band) {
  for (int64_t r = 0; r < band.rows; ++r) {
    for (int64_t c = 0; c < band.cols; ++c)
      band.values[r * band.values_stride + c] =
          T(float(band.codes[r * band.codes_stride + c]) * band.scales[c / band.tile_cols]);
  }
}

// Calls f(band) for every band of tiles of every matrix, on all threads.
template <class T, class F>
void for_bands(const Exec& exec, const Tensor& values, const Quantised& q, F&& f) {
  const int64_t matrices = q.codes.shape().size() == 3 ? q.codes.dim(0) : 1;
  if (q.codes.count() == 0) return;
  const int64_t rows = q.rows() / matrices, bands = tiles(rows, q.tile.rows);
  exec.compute->parallel_for(matrices * bands, [&](int64_t task, int) {
    const int64_t first = task % bands * q.tile.rows, row = task / bands * rows + first;
    f(Band<T>{static_cast<T*>(values.raw()) + row * values.row_stride(),
              static_cast<e4m3*>(q.codes.raw()) + row * q.codes.row_stride(),
              q.scales.data<float>() + task * q.scales.row_stride(), values.row_stride(), q.codes.row_stride(),
              std::min(q.tile.rows, rows - first), q.cols(), q.tile.cols});
  });
}

template <class F>
void with_type(const Tensor& values, const Quantised& q, F&& f) {
  const Shape &a = values.shape(), &b = q.codes.shape();
  check(a == b || (b.size() == 2 && values.rows() == b[0] && values.cols() == b[1]), ErrorKind::internal,
        "values of {} and codes of {}", shape_text(a), shape_text(b));
  check(
      q.codes.dtype() == DType::f8_e4m3 && q.scales.dtype() == DType::f32 && q.scales.shape() == scale_shape(b, q.tile),
      ErrorKind::internal, "codes {} {} in tiles of {} x {} have scales {} {}", dtype_name(q.codes.dtype()),
      shape_text(b), q.tile.rows, q.tile.cols, dtype_name(q.scales.dtype()), shape_text(q.scales.shape()));
  switch (values.dtype()) {
    case DType::f64: return f(static_cast<double*>(nullptr));
    case DType::f32: return f(static_cast<float*>(nullptr));
    case DType::bf16: return f(static_cast<bf16*>(nullptr));
    default: fail(ErrorKind::internal, "{} has no FP8 codes; F64, F32 and BF16 have", dtype_name(values.dtype()));
  }
}

}  // namespace

Quantised Quantised::empty(const Exec& exec, const Shape& shape, Tile tile, DType source) {
  return {Tensor::empty(exec, DType::f8_e4m3, shape), Tensor::empty(exec, DType::f32, scale_shape(shape, tile)), tile,
          source};
}

Quantised Quantised::row_range(int64_t first, int64_t count) const {
  check(codes.shape().size() == 2 && first % tile.rows == 0, ErrorKind::internal,
        "rows from {} of codes {} cut a tile of {} rows", first, shape_text(codes.shape()), tile.rows);
  return {codes.row_range(first, count), scales.row_range(first / tile.rows, tiles(count, tile.rows)), tile, source};
}

Quantised Quantised::col_range(int64_t first, int64_t count) const {
  check(codes.shape().size() == 2 && first % tile.cols == 0, ErrorKind::internal,
        "columns from {} of codes {} cut a tile of {} columns", first, shape_text(codes.shape()), tile.cols);
  return {codes.col_range(first, count), scales.col_range(first / tile.cols, tiles(count, tile.cols)), tile, source};
}

Quantised Quantised::slice(int64_t index) const { return {codes.slice(index), scales.slice(index), tile, source}; }

void quantise(const Exec& exec, const Quantised& to, const Tensor& from, ScaleRule rule) {
  with_type(from, to, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    for_bands<T>(exec, from, to, [&](const Band<T>& band) { encode(band, rule); });
  });
}

void dequantise(const Exec& exec, const Tensor& to, const Quantised& from) {
  with_type(to, from, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    for_bands<T>(exec, to, from, [&](const Band<T>& band) { decode(band); });
  });
}

const Tensor& Activation::tensor() const {
  check(!is_quantised(), ErrorKind::internal, "an activation of FP8 codes is read as a plain tensor");
  return std::get<Tensor>(value_);
}

const Quantised& Activation::quantised() const {
  check(is_quantised(), ErrorKind::internal, "a plain activation is read as FP8 codes");
  return std::get<Quantised>(value_);
}

int64_t Activation::bytes() const {
  return is_quantised() ? quantised().codes.bytes() + quantised().scales.bytes() : tensor().bytes();
}

Activation Activation::row_range(int64_t first, int64_t count) const {
  return is_quantised() ? Activation(quantised().row_range(first, count)) : tensor().row_range(first, count);
}

Activation Activation::col_range(int64_t first, int64_t count) const {
  return is_quantised() ? Activation(quantised().col_range(first, count)) : tensor().col_range(first, count);
}

}  // namespace hadal
