#include "ops/quantise.h"

#include "base/error.h"
#include "ops/pointwise.h"
#include "tensor/shared_tiles.h"

namespace hadal::ops {
namespace {

void check_row_tiles(const Quantised& x) {
  check(x.tile.rows == 1 && !x.is_e5m6(), ErrorKind::internal,
        "rows of codes in tiles of {} x {} cannot be moved one by one", x.tile.rows, x.tile.cols);
}

}  // namespace

Quantised quantise(const Exec& exec, const Tensor& x, Tile tile, ScaleRule rule, AmaxFloor floor,
                   const CutMatrix* cut) {
  const Quantised codes =
      Quantised::empty(exec, x.shape(), tile, x.dtype(), rule, scale_type(rule), origin_of(cut, tile));
  hadal::quantise(exec, codes, x, floor, cut);
  return codes;
}

Quantised quantise(const Exec& exec, const Activation& x, Tile tile, ScaleRule rule, const CutMatrix* cut) {
  const bool at_hand = x.is_quantised() && x.quantised().tile == tile && x.quantised().rule == rule;
  if (at_hand && !x.quantised().is_e5m6()) return x.quantised();
  return quantise(exec, values_for_codes(exec, x, tile, rule), tile, rule, AmaxFloor::none, cut);
}

Tensor values_for_codes(const Exec& exec, const Activation& x, Tile tile, ScaleRule rule) {
  if (!x.is_quantised()) return x.tensor();
  const Quantised& codes = x.quantised();
  check(codes.powers_of_two() && rule != ScaleRule::exact, ErrorKind::internal,
        "codes in tiles of {} x {} are made again in tiles of {} x {}; their scales are not powers of two: make both "
        "from the values",
        codes.tile.rows, codes.tile.cols, tile.rows, tile.cols);
  return dequantise(exec, x);
}

Quantised quantise_e5m6(const Exec& exec, const Tensor& x, const CutMatrix* cut) {
  const Quantised codes = Quantised::empty_e5m6(exec, x.shape(), x.dtype(), origin_of(cut, kRowTile));
  hadal::quantise(exec, codes, x, AmaxFloor::none, cut);
  return codes;
}

Tensor dequantise(const Exec& exec, const Activation& x) {
  if (!x.is_quantised()) return x.tensor();
  const Tensor values = Tensor::empty(exec, x.dtype(), x.shape());
  hadal::dequantise(exec, values, x.quantised());
  return values;
}

Activation gather_rows(const Exec& exec, const Activation& x, const Tensor& index) {
  const int64_t n = index.count();
  if (!x.is_quantised()) {
    const Tensor y = Tensor::empty(exec, x.dtype(), {n, x.cols()});
    gather_rows(exec, y, x.tensor(), index);
    return y;
  }
  const Quantised& from = x.quantised();
  check_row_tiles(from);
  const Quantised to = Quantised::empty(exec, {n, from.cols()}, from.tile, from.source, from.rule, from.scales.dtype());
  gather_rows(exec, to.codes, from.codes, index);
  gather_rows(exec, to.scales, from.scales, index);
  return to;
}

void put_rows(const Exec& exec, const Activation& dst, const Activation& src, const Tensor& index) {
  if (!dst.is_quantised()) return put_rows(exec, dst.tensor(), src.tensor(), index);
  const Quantised &to = dst.quantised(), &from = src.quantised();
  check_row_tiles(from);
  check(to.tile == from.tile && to.scales.dtype() == from.scales.dtype(), ErrorKind::internal,
        "codes in tiles of {} x {} with scales {} are put among some of {} x {} with scales {}", from.tile.rows,
        from.tile.cols, dtype_name(from.scales.dtype()), to.tile.rows, to.tile.cols, dtype_name(to.scales.dtype()));
  put_rows(exec, to.codes, from.codes, index);
  put_rows(exec, to.scales, from.scales, index);
}

}  // namespace hadal::ops
