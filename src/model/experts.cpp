// The routed experts of a layer as grouped products over rows sorted by expert.
#include "model/moe.h"
#include "ops/pointwise.h"

namespace hadal {

void Experts::restore(const Exec& exec, const std::function<Tensor()>& sorted, std::span<const int64_t> offsets,
                      Saved& saved) const {
  const int64_t rows = offsets.back(), width = gate->value.dim(1);
  const DType dtype = gate->value.dtype();
  if (!saved.gate_up) {
    saved.gate_up = Tensor::empty(exec, dtype, {rows, 2 * width});
    const Tensor x = sorted();
    ops::grouped_linear(exec, saved.gate_up.col_range(0, width), x, gate->value, offsets);
    ops::grouped_linear(exec, saved.gate_up.col_range(width, width), x, up->value, offsets);
  }
}

Tensor Experts::forward(const Exec& exec, const Tensor& sorted, std::span<const int64_t> offsets, Saved& saved) const {
  const int64_t width = gate->value.dim(1);
  restore(
      exec, [&] { return sorted; }, offsets, saved);
  Tensor inner = Tensor::empty(exec, sorted.dtype(), {sorted.rows(), width});
  ops::swiglu(exec, inner, saved.gate_up.col_range(0, width), saved.gate_up.col_range(width, width));
  const Tensor y = Tensor::empty(exec, sorted.dtype(), {sorted.rows(), sorted.cols()});
  ops::grouped_linear(exec, y, inner, down->value, offsets);
  return y;
}

Tensor Experts::backward_input(const Exec& exec, const Tensor& dy, RoutingPlan& routing, Saved& saved) const {
  const std::span<const int64_t> offsets = routing.plan.offsets;
  const int64_t rows = dy.rows(), width = gate->value.dim(1);
  const Tensor g = saved.gate_up.col_range(0, width), u = saved.gate_up.col_range(width, width);
  saved.inner = Tensor::empty(exec, dy.dtype(), {rows, width});
  ops::grouped_linear_backward_input(exec, saved.inner, dy, down->value, offsets);
  routing.dweights = Tensor::empty(exec, routing.weights.dtype(), routing.weights.shape());
  ops::swiglu_weighted_backward(exec, {.dh = saved.inner,
                                       .g = g,
                                       .u = u,
                                       .weights = routing.weights,
                                       .dweights = routing.dweights,
                                       .token = routing.plan.token,
                                       .slot = routing.plan.slot});
  const Tensor dx = Tensor::empty(exec, dy.dtype(), {rows, dy.cols()});
  ops::grouped_linear_backward_input(exec, dx, g, gate->value, offsets);
  ops::grouped_linear_backward_input(exec, dx, u, up->value, offsets, ops::Write::add);
  saved.dy = dy;
  return dx;
}

void Experts::backward_weight(const Exec& exec, const std::function<Tensor()>& sorted, std::span<const int64_t> offsets,
                              Saved& saved) const {
  const int64_t width = gate->value.dim(1);
  ops::grouped_linear_backward_weight(exec, down->grad, saved.dy, saved.inner, offsets);
  saved.dy.reset();
  saved.inner.reset();
  const Tensor x = sorted();
  ops::grouped_linear_backward_weight(exec, gate->grad, saved.gate_up.col_range(0, width), x, offsets);
  ops::grouped_linear_backward_weight(exec, up->grad, saved.gate_up.col_range(width, width), x, offsets);
  saved = Saved();
}

}  // namespace hadal
