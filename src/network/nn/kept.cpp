#include "nn/kept.h"

#include "ops/quantise.h"

namespace hadal {

Activation keep(const Exec& exec, const Tensor& x, Kept form, ScaleRule rule, const CutMatrix* cut) {
  switch (form) {
    case Kept::values: return x;
    case Kept::e4m3: return ops::quantise(exec, x, kRowTile, rule, AmaxFloor::none, cut);
    case Kept::e5m6: return ops::quantise_e5m6(exec, x, cut);
  }
  return x;
}

int64_t kept_bytes(Kept form, int64_t rows, int64_t cols, DType dtype, ScaleRule rule) {
  switch (form) {
    case Kept::values: return rows * cols * dtype_bytes(dtype);
    case Kept::e4m3: return Quantised::bytes_of({rows, cols}, kRowTile, scale_type(rule));
    case Kept::e5m6: return Quantised::e5m6_bytes_of({rows, cols});
  }
  return 0;
}

void keep(const Exec& exec, Kept form, Tensor& gate_up, SwigluCodes& codes, const CutMatrix* cut) {
  if (form == Kept::values || !gate_up) return;
  const int64_t width = gate_up.cols() / 2;
  codes.gate = keep(exec, gate_up.col_range(0, width), form, ScaleRule::exact, cut);
  codes.up = keep(exec, gate_up.col_range(width, width), form, ScaleRule::exact, cut);
  gate_up.reset();
}

void restore(const Exec& exec, Tensor& gate_up, SwigluCodes& codes) {
  if (!codes) return;
  const int64_t width = codes.gate.cols();
  gate_up = Tensor::empty(exec, codes.gate.dtype(), {codes.gate.rows(), 2 * width});
  dequantise(exec, gate_up.col_range(0, width), codes.gate.quantised());
  dequantise(exec, gate_up.col_range(width, width), codes.up.quantised());
  codes = {};
}

}  // namespace hadal
