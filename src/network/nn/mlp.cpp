#include "nn/mlp.h"

#include "ops/pointwise.h"

namespace hadal {

void Mlp::start(const Exec& exec, DType dtype, int64_t rows, Saved& saved) const {
  saved.gate_up = Tensor::empty(exec, dtype, {rows, 2 * gate.out_features()});
}

void Mlp::gate_up_part(const Exec& exec, const Activation& x, int64_t first, Saved& saved) const {
  const int64_t width = gate.out_features();
  const Tensor rows = saved.gate_up.row_range(first, x.rows());
  const Activation operand = gate.recipe.fprop_operand(exec, x);
  gate.forward(exec, rows.col_range(0, width), operand);
  up.forward(exec, rows.col_range(width, width), operand);
}

Activation Mlp::inner(const Exec& exec, const ops::RowRange& part, const Saved& saved) const {
  const int64_t width = gate.out_features();
  const Tensor rows = saved.gate_up.row_range(part.begin, part.count);
  const Tensor inner = Tensor::empty(exec, rows.dtype(), {rows.rows(), width});
  ops::swiglu(exec, inner, rows.col_range(0, width), rows.col_range(width, width));
  return down.fprop_operand(exec, inner);
}

void Mlp::keep(const Exec& exec, Saved& saved) const {
  hadal::keep(exec, kept, saved.gate_up, saved.codes, down.weight->cut_along(1));
}

bool Mlp::restore_kept(const Exec& exec, Saved& saved) const {
  hadal::restore(exec, saved.gate_up, saved.codes);
  return bool(saved.gate_up);
}

void Mlp::round(const Exec& exec, Saved& saved) const {
  keep(exec, saved);
  hadal::restore(exec, saved.gate_up, saved.codes);
}

void Mlp::restore(const Exec& exec, const Activation& x, Saved& saved) const {
  if (restore_kept(exec, saved)) return;
  start(exec, x.dtype(), x.rows(), saved);
  gate_up_part(exec, x, 0, saved);
  round(exec, saved);
}

void Mlp::forward(const Exec& exec, const Tensor& y, const Activation& x, ops::Write write, Saved& saved) const {
  start(exec, x.dtype(), x.rows(), saved);
  gate_up_part(exec, x, 0, saved);
  down.forward(exec, y, inner(exec, {0, y.rows()}, saved), write);
}

void Mlp::start_backward(const Exec& exec, Saved& saved) const {
  saved.d_gate_up = saved.gate_up;
  saved.gate_up.reset();
  saved.inner = Tensor::empty(exec, saved.d_gate_up.dtype(), {saved.d_gate_up.rows(), gate.out_features()});
}

void Mlp::down_backward_part(const Exec& exec, const Activation& dy, int64_t first, Saved& saved) const {
  down.backward_input(exec, saved.inner.row_range(first, dy.rows()), dy);
}

// h = silu(g) * u was not kept: with dh = W_down^T dy one pass writes dg and du over g and u, and h over dh.
void Mlp::swiglu_backward(const Exec& exec, const Activation& dy, Saved& saved) const {
  const int64_t width = gate.out_features();
  const Tensor g = saved.d_gate_up.col_range(0, width), u = saved.d_gate_up.col_range(width, width);
  ops::swiglu_weighted_backward(exec, {.dh = saved.inner, .g = g, .u = u, .weight = {}, .dweight = {}});
  saved.dy = dy;
}

Mlp::Gradients Mlp::gradients(const Exec& exec, const Saved& saved) const {
  const int64_t width = gate.out_features();
  return {gate.dgrad_operand(exec, saved.d_gate_up.col_range(0, width)),
          up.dgrad_operand(exec, saved.d_gate_up.col_range(width, width))};
}

void Mlp::gate_up_backward_part(const Exec& exec, const Tensor& dx, const Gradients& of_all, int64_t first) const {
  gate.backward_input(exec, dx, of_all.gate.row_range(first, dx.rows()));
  up.backward_input(exec, dx, of_all.up.row_range(first, dx.rows()), ops::Write::add);
}

// dx = W_gate^T dg + W_up^T du (§1.2).
void Mlp::backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, ops::Write write,
                         Saved& saved) const {
  start_backward(exec, saved);
  down_backward_part(exec, dy, 0, saved);
  swiglu_backward(exec, dy, saved);
  const int64_t width = gate.out_features();
  gate.backward_input(exec, dx, saved.d_gate_up.col_range(0, width), write);
  up.backward_input(exec, dx, saved.d_gate_up.col_range(width, width), ops::Write::add);
}

void Mlp::backward_weight(const Exec& exec, const Activation& x, Saved& saved) const {
  const int64_t width = gate.out_features();
  down.backward_weight(exec, saved.dy, saved.inner);
  saved.dy.reset();
  saved.inner.reset();
  const Activation operand = gate.recipe.wgrad_operand_x(exec, x);
  gate.backward_weight(exec, saved.d_gate_up.col_range(0, width), operand);
  up.backward_weight(exec, saved.d_gate_up.col_range(width, width), operand);
  saved = Saved();
}

void Mlp::each_parameter(const ParameterVisitor& visit) const {
  for (const Linear* linear : {&gate, &up, &down}) visit(*linear->weight);
}

}  // namespace hadal
