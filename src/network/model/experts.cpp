// The routed experts of a layer as grouped products over rows sorted by expert.
#include "model/moe.h"
#include "ops/pointwise.h"

namespace hadal {

void Experts::restore(const Exec& exec, const std::function<Activation()>& sorted, std::span<const int64_t> offsets,
                      Saved& saved) const {
  const int64_t rows = offsets.back(), width = gate.out_features();
  const DType dtype = gate.weight->value.dtype();
  if (!saved.gate_up) {
    saved.gate_up = Tensor::empty(exec, dtype, {rows, 2 * width});
    const Activation x = gate.recipe.fprop_operand(exec, sorted());
    gate.forward(exec, saved.gate_up.col_range(0, width), x, offsets);
    up.forward(exec, saved.gate_up.col_range(width, width), x, offsets);
  }
}

Tensor Experts::forward(const Exec& exec, const Activation& sorted, std::span<const int64_t> offsets,
                        Saved& saved) const {
  const int64_t width = gate.out_features();
  restore(
      exec, [&] { return sorted; }, offsets, saved);
  Tensor inner = Tensor::empty(exec, sorted.dtype(), {sorted.rows(), width});
  ops::swiglu(exec, inner, saved.gate_up.col_range(0, width), saved.gate_up.col_range(width, width));
  const Tensor y = Tensor::empty(exec, sorted.dtype(), {sorted.rows(), sorted.cols()});
  down.forward(exec, y, inner, offsets);
  return y;
}

Tensor Experts::backward_input(const Exec& exec, const Activation& dy, RoutingPlan& routing, Saved& saved) const {
  const std::span<const int64_t> offsets = routing.plan.offsets;
  const int64_t rows = dy.rows(), width = gate.out_features();
  const Tensor g = saved.gate_up.col_range(0, width), u = saved.gate_up.col_range(width, width);
  saved.inner = Tensor::empty(exec, dy.dtype(), {rows, width});
  down.backward_input(exec, saved.inner, dy, offsets);
  routing.dweights = Tensor::empty(exec, routing.weights.dtype(), routing.weights.shape());
  ops::swiglu_weighted_backward(exec, {.dh = saved.inner,
                                       .g = g,
                                       .u = u,
                                       .weights = routing.weights,
                                       .dweights = routing.dweights,
                                       .token = routing.plan.token,
                                       .slot = routing.plan.slot});
  const Tensor dx = Tensor::empty(exec, dy.dtype(), {rows, dy.cols()});
  gate.backward_input(exec, dx, g, offsets);
  up.backward_input(exec, dx, u, offsets, ops::Write::add);
  saved.dy = dy;
  return dx;
}

void Experts::backward_weight(const Exec& exec, const std::function<Activation()>& sorted,
                              std::span<const int64_t> offsets, Saved& saved) const {
  const int64_t width = gate.out_features();
  down.backward_weight(exec, saved.dy, saved.inner, offsets);
  saved.dy.reset();
  saved.inner.reset();
  const Activation x = sorted();
  gate.backward_weight(exec, saved.gate_up.col_range(0, width), x, offsets);
  up.backward_weight(exec, saved.gate_up.col_range(width, width), x, offsets);
  saved = Saved();
}

}  // namespace hadal
