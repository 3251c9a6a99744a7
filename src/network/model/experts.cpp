#include "model/experts.h"

#include "ops/pointwise.h"

namespace hadal {

void Experts::restore(const Exec& exec, const ExpertRows& x, Saved& saved) const {
  if (saved.gate_up) return;
  const int64_t width = gate.out_features();
  saved.gate_up = Tensor::empty(exec, x.rows.dtype(), {x.rows.rows(), 2 * width});
  const Activation operand = gate.recipe.fprop_operand(exec, x.rows);
  gate.forward(exec, saved.gate_up.col_range(0, width), operand, x.offsets);
  up.forward(exec, saved.gate_up.col_range(width, width), operand, x.offsets);
}

// Every expert multiplies its own run of rows: y = W_down (silu(W_gate x) * W_up x) (§1.2). The router's weight comes
// in at combine, where a token's rows meet.
Tensor Experts::forward(const Exec& exec, const ExpertRows& x, Saved& saved) const {
  const int64_t n = x.rows.rows(), width = gate.out_features();
  restore(exec, x, saved);
  const Tensor inner = Tensor::empty(exec, x.rows.dtype(), {n, width});
  ops::swiglu(exec, inner, saved.gate_up.col_range(0, width), saved.gate_up.col_range(width, width));
  const Tensor y = Tensor::empty(exec, x.rows.dtype(), {n, x.rows.cols()});
  down.forward(exec, y, inner, x.offsets);
  return y;
}

// A row's output is w * W_down h with h = silu(g) * u. With dh = W_down^T dy one pass over the row gives d w = dh . h,
// the gradients of g and u under w dh, and w h, which W_down's gradient multiplies: neither h nor outputs were kept.
Experts::Gradients Experts::backward_input(const Exec& exec, const ExpertRows& x, const Activation& dy,
                                           Saved& saved) const {
  const int64_t n = dy.rows(), width = gate.out_features();
  saved.d_gate_up = saved.gate_up;
  saved.gate_up.reset();
  const Tensor dg = saved.d_gate_up.col_range(0, width), du = saved.d_gate_up.col_range(width, width);
  saved.inner = Tensor::empty(exec, dy.dtype(), {n, width});
  down.backward_input(exec, saved.inner, dy, x.offsets);
  Gradients result{Tensor::empty(exec, dy.dtype(), {n, dy.cols()}), Tensor::empty(exec, x.weight.dtype(), {n})};
  ops::swiglu_weighted_backward(exec,
                                {.dh = saved.inner, .g = dg, .u = du, .weight = x.weight, .dweight = result.weight});
  gate.backward_input(exec, result.rows, dg, x.offsets);
  up.backward_input(exec, result.rows, du, x.offsets, ops::Write::add);
  saved.dy = dy;
  return result;
}

// Over each expert's rows: dW_down += dy^T (w h), dW_gate += dg^T x, dW_up += du^T x. x is what dispatch brought, kept
// since then: W may come long after, and sends nothing again.
void Experts::backward_weight(const Exec& exec, const ExpertRows& x, Saved& saved) const {
  const int64_t width = gate.out_features();
  down.backward_weight(exec, saved.dy, saved.inner, x.offsets);
  saved.dy.reset();
  saved.inner.reset();
  gate.backward_weight(exec, saved.d_gate_up.col_range(0, width), x.rows, x.offsets);
  up.backward_weight(exec, saved.d_gate_up.col_range(width, width), x.rows, x.offsets);
  saved = Saved();
}

void Experts::each_parameter(const ParameterVisitor& visit) const {
  for (const GroupedLinear* linear : {&gate, &up, &down}) visit(*linear->weight);
}

}  // namespace hadal
