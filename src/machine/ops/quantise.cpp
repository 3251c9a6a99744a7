#include "ops/quantise.h"

#include <cstring>

#include "base/error.h"
#include "ops/kernel_rows.h"
#include "ops/pointwise.h"

namespace hadal::ops {

Quantised quantise(const Exec& exec, const Tensor& x, Tile tile, ScaleRule rule) {
  const Quantised codes = Quantised::empty(exec, x.shape(), tile, x.dtype());
  hadal::quantise(exec, codes, x, rule);
  return codes;
}

Quantised quantise(const Exec& exec, const Activation& x, Tile tile, ScaleRule rule) {
  if (x.is_quantised() && x.quantised().tile == tile) return x.quantised();
  return quantise(exec, dequantise(exec, x), tile, rule);
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
  check(from.tile.rows == 1, ErrorKind::internal, "rows of codes in tiles of {} x {} cannot be gathered",
        from.tile.rows, from.tile.cols);
  check(from.codes.on_host(), ErrorKind::unsupported, "rows of FP8 codes are gathered on the CPU alone so far");
  const int32_t* rows = i32_vector(index, n, "index of rows");
  check_ids(index, 0, from.rows(), "index of row");
  const Quantised to = Quantised::empty(exec, {n, from.cols()}, from.tile, from.source);
  const auto row = [](const Tensor& t, int64_t i) {
    return static_cast<char*>(t.raw()) + i * t.row_stride() * dtype_bytes(t.dtype());
  };
  exec.compute->parallel_for(n, [&](int64_t i, int) {
    std::memcpy(row(to.codes, i), row(from.codes, rows[i]), size_t(to.cols()));
    std::memcpy(row(to.scales, i), row(from.scales, rows[i]), size_t(to.scales.cols()) * sizeof(float));
  });
  return to;
}

}  // namespace hadal::ops
