#include "nn/mlp.h"

#include "ops/pointwise.h"

namespace hadal {

void Mlp::restore(const Exec& exec, const Tensor& x, Saved& saved) const {
  const int64_t rows = x.rows(), width = gate.out_features();
  if (!saved.gate_up) {
    saved.gate_up = Tensor::empty(exec, x.dtype(), {rows, 2 * width});
    gate.forward(exec, saved.gate_up.col_range(0, width), x);
    up.forward(exec, saved.gate_up.col_range(width, width), x);
  }
  if (!saved.inner) {
    saved.inner = Tensor::empty(exec, x.dtype(), {rows, width});
    ops::swiglu(exec, saved.inner, saved.gate_up.col_range(0, width), saved.gate_up.col_range(width, width));
  }
}

void Mlp::forward(const Exec& exec, const Tensor& y, const Tensor& x, ops::Write write, Saved& saved) const {
  restore(exec, x, saved);
  down.forward(exec, y, saved.inner, write);
}

void Mlp::backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, ops::Write write, Saved& saved) const {
  const int64_t width = gate.out_features();
  const Tensor g = saved.gate_up.col_range(0, width), u = saved.gate_up.col_range(width, width);
  {
    const Tensor d_inner = Tensor::empty(exec, dy.dtype(), {dy.rows(), width});
    down.backward_input(exec, d_inner, dy);
    ops::swiglu_backward(exec, g, u, d_inner, g, u);
  }
  gate.backward_input(exec, dx, g, write);
  up.backward_input(exec, dx, u, ops::Write::add);
  saved.dy = dy;
}

void Mlp::backward_weight(const Exec& exec, const Tensor& x, Saved& saved) const {
  const int64_t width = gate.out_features();
  down.backward_weight(exec, saved.dy, saved.inner);
  saved.dy.reset();
  saved.inner.reset();
  gate.backward_weight(exec, saved.gate_up.col_range(0, width), x);
  up.backward_weight(exec, saved.gate_up.col_range(width, width), x);
  saved = Saved();
}

}  // namespace hadal
