#include "nn/mlp.h"

#include "ops/pointwise.h"

namespace hadal {

void Mlp::restore(const Exec& exec, const Activation& x, Saved& saved) const {
  if (saved.gate_up) return;
  const int64_t width = gate.out_features();
  saved.gate_up = Tensor::empty(exec, x.dtype(), {x.rows(), 2 * width});
  const Activation operand = gate.recipe.fprop_operand(exec, x);
  gate.forward(exec, saved.gate_up.col_range(0, width), operand);
  up.forward(exec, saved.gate_up.col_range(width, width), operand);
}

void Mlp::forward(const Exec& exec, const Tensor& y, const Activation& x, ops::Write write, Saved& saved) const {
  restore(exec, x, saved);
  const int64_t width = gate.out_features();
  const Tensor inner = Tensor::empty(exec, x.dtype(), {x.rows(), width});
  ops::swiglu(exec, inner, saved.gate_up.col_range(0, width), saved.gate_up.col_range(width, width));
  down.forward(exec, y, inner, write);
}

// h = silu(g) * u was not kept: with dh = W_down^T dy one pass writes dg and du over g and u, and h over dh. dx =
// W_gate^T dg + W_up^T du (§1.2).
void Mlp::backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, ops::Write write,
                         Saved& saved) const {
  const int64_t width = gate.out_features();
  saved.d_gate_up = saved.gate_up;
  saved.gate_up.reset();
  const Tensor g = saved.d_gate_up.col_range(0, width), u = saved.d_gate_up.col_range(width, width);
  saved.inner = Tensor::empty(exec, dy.dtype(), {dy.rows(), width});
  down.backward_input(exec, saved.inner, dy);
  ops::swiglu_weighted_backward(exec, {.dh = saved.inner, .g = g, .u = u, .weight = {}, .dweight = {}});
  gate.backward_input(exec, dx, g, write);
  up.backward_input(exec, dx, u, ops::Write::add);
  saved.dy = dy;
}

void Mlp::backward_weight(const Exec& exec, const Activation& x, Saved& saved) const {
  const int64_t width = gate.out_features();
  down.backward_weight(exec, saved.dy, saved.inner);
  saved.dy.reset();
  saved.inner.reset();
  const Activation operand = gate.recipe.wgrad_operand(exec, x);
  gate.backward_weight(exec, saved.d_gate_up.col_range(0, width), operand);
  up.backward_weight(exec, saved.d_gate_up.col_range(width, width), operand);
  saved = Saved();
}

void Mlp::each_parameter(const ParameterVisitor& visit) const {
  for (const Linear* linear : {&gate, &up, &down}) visit(*linear->weight);
}

}  // namespace hadal
