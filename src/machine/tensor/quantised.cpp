#include "tensor/quantised.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "kernels/e5m6_tiles.h"
#include "kernels/fp8_tiles.h"

namespace hadal {
namespace {

constexpr float kReleasedAmax = 1e-4f;

int64_t tiles(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

Shape scale_shape(const Shape& shape, Tile tile, TileOrigin origin = {}) {
  check(shape.size() == 2 || shape.size() == 3, ErrorKind::internal, "codes of shape {}: a matrix or a stack of them",
        shape_text(shape));
  check(tile.rows > 0 && tile.cols > 0, ErrorKind::internal, "tiles of {} x {}", tile.rows, tile.cols);
  Shape result = shape;
  result[shape.size() - 2] = tiles(origin.rows + shape[shape.size() - 2], tile.rows);
  result.back() = tiles(origin.cols + shape.back(), tile.cols);
  return result;
}

// The kernel's arguments: values beside codes and scales of their shape.
kernels::Fp8Tiles tiles_of(const Exec& exec, const Tensor& values, const Quantised& q) {
  const Shape &a = values.shape(), &b = q.codes.shape();
  check(a == b || (b.size() == 2 && values.rows() == b[0] && values.cols() == b[1]), ErrorKind::internal,
        "values of {} and codes of {}", shape_text(a), shape_text(b));
  check(
      q.codes.dtype() == DType::f8_e4m3 && q.scales.dtype() == DType::f32 && q.scales.shape() == scale_shape(b, q.tile),
      ErrorKind::internal, "codes {} {} in tiles of {} x {} have scales {} {}", dtype_name(q.codes.dtype()),
      shape_text(b), q.tile.rows, q.tile.cols, dtype_name(q.scales.dtype()), shape_text(q.scales.shape()));
  const DType dtype = values.dtype();
  check(dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16, ErrorKind::internal,
        "{} has no FP8 codes; F64, F32 and BF16 have", dtype_name(dtype));
  const int64_t matrices = b.size() == 3 ? b[0] : 1;
  return {.values = {values.raw(), values.row_stride(), dtype},
          .codes = static_cast<uint8_t*>(q.codes.raw()),
          .scales = q.scales.address<float>(),
          .codes_stride = q.codes.row_stride(),
          .scales_stride = q.scales.row_stride(),
          .matrices = matrices,
          .rows = matrices == 0 ? 0 : q.rows() / matrices,
          .cols = q.cols(),
          .tile_rows = q.tile.rows,
          .tile_cols = q.tile.cols,
          .lane = exec.compute};
}

kernels::E5m6Tiles e5m6_of(const Exec& exec, const Tensor& values, const Quantised& q) {
  check(values.rows() == q.rows() && values.cols() == q.cols(), ErrorKind::internal,
        "values of {} and E5M6 codes of {}", shape_text(values.shape()), shape_text(q.codes.shape()));
  const DType dtype = values.dtype();
  check(dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16, ErrorKind::internal,
        "{} has no E5M6 codes; F64, F32 and BF16 have", dtype_name(dtype));
  const auto bytes = [](const Tensor& t) { return static_cast<uint8_t*>(t.raw()); };
  return {.values = {values.raw(), values.row_stride(), dtype},
          .upper = bytes(q.codes),
          .lower = bytes(q.lower),
          .scales = bytes(q.scales),
          .upper_stride = q.codes.row_stride(),
          .lower_stride = q.lower.row_stride(),
          .scales_stride = q.scales.row_stride(),
          .rows = q.rows(),
          .cols = q.cols(),
          .lane = exec.compute};
}

}  // namespace

DType scale_type(ScaleRule rule) { return rule == ScaleRule::exact ? DType::f32 : DType::f8_e8m0; }

Quantised Quantised::empty(const Exec& exec, const Shape& shape, Tile tile, DType source, ScaleRule rule) {
  return empty(exec, shape, tile, source, rule, scale_type(rule));
}

Quantised Quantised::empty(const Exec& exec, const Shape& shape, Tile tile, DType source, ScaleRule rule, DType scales,
                           TileOrigin origin) {
  check(shape.size() == 2 || origin == TileOrigin(), ErrorKind::internal, "a stack {} cut out of a larger one",
        shape_text(shape));
  Quantised q{Tensor::empty(exec, DType::f8_e4m3, shape), Tensor::empty(exec, scales, scale_shape(shape, tile, origin)),
              tile, source, rule};
  q.origin = origin;
  return q;
}

Quantised Quantised::empty_e5m6(const Exec& exec, const Shape& shape, DType source, TileOrigin origin) {
  check(shape.size() == 2 && origin.cols % 2 == 0, ErrorKind::internal,
        "E5M6 codes of shape {} from column {} of a tile: a matrix that begins at an even one", shape_text(shape),
        origin.cols);
  Quantised q{Tensor::empty(exec, DType::u8, shape),
              Tensor::empty(exec, DType::f8_e8m0, scale_shape(shape, kRowTile, origin)), kRowTile, source,
              ScaleRule::power_of_two};
  q.lower = Tensor::empty(exec, DType::u8, {shape[0], (shape[1] + 1) / 2});
  q.origin = origin;
  return q;
}

int64_t Quantised::e5m6_bytes_of(const Shape& shape) {
  return shape_count(shape) + shape[0] * ((shape[1] + 1) / 2) + shape_count(scale_shape(shape, kRowTile));
}

int64_t Quantised::bytes() const { return codes.bytes() + scales.bytes() + (lower ? lower.bytes() : 0); }

int64_t Quantised::bytes_of(const Shape& shape, Tile tile, DType scales) {
  return shape_count(shape) * dtype_bytes(DType::f8_e4m3) + shape_count(scale_shape(shape, tile)) * dtype_bytes(scales);
}

Quantised Quantised::row_range(int64_t first, int64_t count) const {
  check(codes.shape().size() == 2 && (first == 0 || (origin.rows + first) % tile.rows == 0), ErrorKind::internal,
        "rows from {} of codes {} cut a tile of {} rows", first, shape_text(codes.shape()), tile.rows);
  Quantised part = *this;
  part.origin.rows = first == 0 ? origin.rows : 0;
  part.codes = codes.row_range(first, count);
  part.scales =
      scales.row_range((origin.rows + first) / tile.rows, count == 0 ? 0 : tiles(part.origin.rows + count, tile.rows));
  if (is_e5m6()) part.lower = lower.row_range(first, count);
  return part;
}

Quantised Quantised::col_range(int64_t first, int64_t count) const {
  check(!is_e5m6() || first % 2 == 0, ErrorKind::internal, "E5M6 codes from column {}, two of which share a byte",
        first);
  check(codes.shape().size() == 2 && (first == 0 || (origin.cols + first) % tile.cols == 0), ErrorKind::internal,
        "columns from {} of codes {} cut a tile of {} columns", first, shape_text(codes.shape()), tile.cols);
  Quantised part = *this;
  part.origin.cols = first == 0 ? origin.cols : 0;
  part.codes = codes.col_range(first, count);
  part.scales =
      scales.col_range((origin.cols + first) / tile.cols, count == 0 ? 0 : tiles(part.origin.cols + count, tile.cols));
  if (is_e5m6()) part.lower = lower.col_range(first / 2, (count + 1) / 2);
  return part;
}

std::vector<Quantised::Aligned> Quantised::aligned() const {
  if (origin == TileOrigin()) return {{0, 0, *this}};
  const auto first_of = [](int64_t origin, int64_t tile, int64_t n) {
    return origin == 0 ? n : std::min(tile - origin, n);
  };
  const int64_t upper = first_of(origin.rows, tile.rows, rows()), left = first_of(origin.cols, tile.cols, cols());
  std::vector<Aligned> parts;
  for (const auto& [row, n_rows] : {std::pair(int64_t(0), upper), std::pair(upper, rows() - upper)}) {
    for (const auto& [col, n_cols] : {std::pair(int64_t(0), left), std::pair(left, cols() - left)}) {
      if (n_rows == 0 || n_cols == 0) continue;
      parts.push_back({row, col, row_range(row, n_rows).col_range(col, n_cols)});
      parts.back().codes.origin = {};
    }
  }
  return parts;
}

Quantised Quantised::slice(int64_t index) const {
  return {codes.slice(index), scales.slice(index), tile, source, rule};
}

Quantised Quantised::slices(int64_t first, int64_t count) const {
  const auto some = [&](const Tensor& t) {
    const int64_t rows = t.dim(1);
    return t.view({t.dim(0) * rows, t.dim(2)}).row_range(first * rows, count * rows).view({count, rows, t.dim(2)});
  };
  return {some(codes), some(scales), tile, source, rule};
}

Quantised Quantised::with_wide_scales(const Exec& exec) const {
  Quantised wide = *this;
  if (scales.dtype() != DType::f32) wide.scales = scales.to(exec, DType::f32);
  return wide;
}

namespace {

// f(values, codes) for the parts that kernels take.
template <class F>
void each_aligned(const Tensor& values, const Quantised& codes, F&& f) {
  if (codes.origin == TileOrigin()) return f(values, codes);
  for (const Quantised::Aligned& part : codes.aligned()) {
    const Tensor rows = values.row_range(part.first_row, part.codes.rows());
    f(rows.col_range(part.first_col, part.codes.cols()), part.codes);
  }
}

// The kernels of E4M3 know scales in FP32: those of a byte, one for each tile, are narrowed behind and widened before.
void encode(const Exec& exec, const Quantised& to, const Tensor& from, AmaxFloor floor) {
  if (to.is_e5m6())
    return kernels::e5m6_encode(kernels::twin(exec, from.dtype() == DType::f64), e5m6_of(exec, from, to));
  if (to.scales.dtype() == DType::f8_e8m0) {
    check(to.rule != ScaleRule::exact, ErrorKind::internal, "scales in E8M0, which are powers of two, by another rule");
    Quantised wide = to;
    wide.scales = Tensor::empty(exec, DType::f32, to.scales.shape());
    encode(exec, wide, from, floor);
    return to.scales.copy_from(exec, wide.scales);
  }
  kernels::Fp8Tiles args = tiles_of(exec, from, to);
  args.power_of_two = to.powers_of_two();
  args.ocp = to.rule == ScaleRule::ocp;
  args.smallest_amax = floor == AmaxFloor::released ? kReleasedAmax : 0.0f;
  kernels::fp8_encode(kernels::twin(exec, from.dtype() == DType::f64), args);
}

void decode(const Exec& exec, const Tensor& to, const Quantised& from) {
  if (from.is_e5m6())
    return kernels::e5m6_decode(kernels::twin(exec, to.dtype() == DType::f64), e5m6_of(exec, to, from));
  kernels::fp8_decode(kernels::twin(exec, to.dtype() == DType::f64), tiles_of(exec, to, from.with_wide_scales(exec)));
}

}  // namespace

void quantise(const Exec& exec, const Quantised& to, const Tensor& from, AmaxFloor floor) {
  each_aligned(from, to, [&](const Tensor& x, const Quantised& codes) { encode(exec, codes, x, floor); });
}

void dequantise(const Exec& exec, const Tensor& to, const Quantised& from) {
  each_aligned(to, from, [&](const Tensor& x, const Quantised& codes) { decode(exec, x, codes); });
}

const Tensor& Activation::tensor() const {
  check(!is_quantised(), ErrorKind::internal, "an activation of FP8 codes is read as a plain tensor");
  return std::get<Tensor>(value_);
}

const Quantised& Activation::quantised() const {
  check(is_quantised(), ErrorKind::internal, "a plain activation is read as FP8 codes");
  return std::get<Quantised>(value_);
}

int64_t Activation::bytes() const { return is_quantised() ? quantised().bytes() : tensor().bytes(); }

Activation Activation::row_range(int64_t first, int64_t count) const {
  return is_quantised() ? Activation(quantised().row_range(first, count)) : tensor().row_range(first, count);
}

Activation Activation::col_range(int64_t first, int64_t count) const {
  return is_quantised() ? Activation(quantised().col_range(first, count)) : tensor().col_range(first, count);
}

}  // namespace hadal
