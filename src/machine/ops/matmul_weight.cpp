#include "ops/matmul_weight.h"

#include "kernels/gemm_panels.h"
#include "ops/gemm_call.h"
#include "ops/quantise.h"

namespace hadal::ops {
namespace {

bool multiplies_codes(const Activation& x, const Weight& w) { return x.is_quantised() && w.has(WeightForm::codes); }

// Whether the forward product reads panels. Those of another instruction set serve only beside a plain form.
bool reads_panels(const Exec& exec, const Weight& w) {
  if (!w.has(WeightForm::panels)) return false;
  const int64_t wanted = kernels::gemm_panel_cols(exec.isa);
  if (w.panels.panel_cols == wanted) return true;
  check(w.has(WeightForm::plain), ErrorKind::unsupported,
        "a weight is packed in panels of {} columns, but {} reads panels of {}; pack it again for this instruction set",
        w.panels.panel_cols, isa_name(exec.isa), wanted);
  return false;
}

void check_matrix(const char* op, const Weight& w) {
  check(!w.is_stack(), ErrorKind::internal, "{}: the weight is {}, must be [out, in]", op, shape_text(w.shape));
}

void check_groups(const char* op, const Weight& w, const Tensor& outs, const Tensor& ins) {
  check(w.is_stack(), ErrorKind::internal, "{}: the weight is {}, must be [experts, out, in]", op, shape_text(w.shape));
  check_operand(op, "the operand of inputs", ins, ins.rows(), w.in());
  check_operand(op, "the operand of outputs", outs, ins.rows(), w.out());
}

}  // namespace

Tensor values_of(const Exec& exec, const Weight& w) {
  if (w.plain) return w.plain;
  check(w.has(WeightForm::codes), ErrorKind::unsupported,
        "a weight {} that keeps only panels or experts apart has no tensor; keep its plain form", shape_text(w.shape));
  return dequantise(exec, w.codes);
}

void linear(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, Write write) {
  check_matrix("linear", w);
  if (multiplies_codes(x, w)) return linear(exec, y, x, Activation(w.codes), write);
  const Tensor rows = dequantise(exec, x);
  if (!reads_panels(exec, w)) return linear(exec, y, rows, values_of(exec, w), write);
  check_operand("linear", "x", rows, rows.rows(), w.in());
  check_operand("linear", "y", y, rows.rows(), w.out());
  run_gemm(exec, {"linear", y, rows, w.panels.elements, false, true, write, true}, rows.rows(), w.out(), w.in());
}

void linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Weight& w, Write write) {
  check_matrix("linear_backward_input", w);
  if (multiplies_codes(dy, w)) return linear_backward_input(exec, dx, dy, Activation(w.codes), write);
  linear_backward_input(exec, dx, dequantise(exec, dy), values_of(exec, w), write);
}

void grouped_linear(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, const Tensor& offsets,
                    Write write) {
  if (multiplies_codes(x, w)) return grouped_linear(exec, y, x, Activation(w.codes), offsets, write);
  const Tensor rows = dequantise(exec, x);
  const bool panels = reads_panels(exec, w);
  if (!panels && w.experts.empty()) return grouped_linear(exec, y, rows, values_of(exec, w), offsets, write);
  check_groups("grouped_linear", w, y, rows);
  const Tensor b = panels ? w.panels.elements : w.matrix(0);
  run_row_groups(exec, {"grouped_linear", y, rows, b, false, true, write, panels}, offsets, w.n_experts(), -1,
                 [&](int64_t e) { return panels ? w.panels.elements.row_range(e, 1).raw() : w.matrix(e).raw(); });
}

void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Weight& w,
                                   const Tensor& offsets, Write write) {
  if (multiplies_codes(dy, w)) return grouped_linear_backward_input(exec, dx, dy, Activation(w.codes), offsets, write);
  const Tensor rows = dequantise(exec, dy);
  if (w.experts.empty()) return grouped_linear_backward_input(exec, dx, rows, values_of(exec, w), offsets, write);
  check_groups("grouped_linear_backward_input", w, rows, dx);
  run_row_groups(exec, {"grouped_linear_backward_input", dx, rows, w.matrix(0), false, false, write}, offsets,
                 w.n_experts(), -1, [&](int64_t e) { return w.matrix(e).raw(); });
}

}  // namespace hadal::ops
