// The routed experts of a layer as grouped products over rows sorted by expert.
#include <algorithm>

#include "model/moe.h"
#include "nn/norm.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

// For each sorted row: d weight = dh . h; then dh *= weight, h *= weight (h weighted is what the weight gradient of
// W_down needs, whose other operand, the row of dy, stays unweighted). Sums in 16 lanes of fixed order.
template <class T, class Wide>
void weigh_rows(const Exec& exec, const Tensor& dh, const Tensor& h, const RoutingPlan& routing) {
  constexpr int64_t kRowsPerTask = 128;
  constexpr int kLanes = 16;
  const ops::DispatchPlan& plan = routing.plan;
  const int64_t n_rows = dh.rows(), n_cols = dh.cols(), top_k = routing.weights.cols();
  const Wide* weights = routing.weights.data<Wide>();
  Wide* dweights = routing.dweights.data<Wide>();
  exec.pool->parallel_for((n_rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    for (int64_t r = task * kRowsPerTask; r < std::min(n_rows, (task + 1) * kRowsPerTask); ++r) {
      T* gradient = dh.data<T>() + r * dh.row_stride();
      T* inner = h.data<T>() + r * h.row_stride();
      const int64_t at = int64_t(plan.token[size_t(r)]) * top_k + plan.slot[size_t(r)];
      const Wide weight = weights[at];
      Wide lanes[kLanes] = {};
      int64_t c = 0;
      for (; c + kLanes <= n_cols; c += kLanes) {
        for (int i = 0; i < kLanes; ++i) {
          const Wide a = Wide(gradient[c + i]), b = Wide(inner[c + i]);
          lanes[i] += a * b;
          gradient[c + i] = T(a * weight);
          inner[c + i] = T(b * weight);
        }
      }
      for (int i = 0; c < n_cols; ++c, ++i) {
        const Wide a = Wide(gradient[c]), b = Wide(inner[c]);
        lanes[i] += a * b;
        gradient[c] = T(a * weight);
        inner[c] = T(b * weight);
      }
      Wide sum = 0;
      for (int i = 0; i < kLanes; ++i) sum += lanes[i];
      dweights[at] = sum;
    }
  });
}

}  // namespace

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
  if (!saved.inner) {
    saved.inner = Tensor::empty(exec, dtype, {rows, width});
    ops::swiglu(exec, saved.inner, saved.gate_up.col_range(0, width), saved.gate_up.col_range(width, width));
  }
}

Tensor Experts::forward(const Exec& exec, const Tensor& sorted, std::span<const int64_t> offsets, Saved& saved) const {
  restore(
      exec, [&] { return sorted; }, offsets, saved);
  const Tensor y = Tensor::empty(exec, sorted.dtype(), {sorted.rows(), sorted.cols()});
  ops::grouped_linear(exec, y, saved.inner, down->value, offsets);
  return y;
}

Tensor Experts::backward_input(const Exec& exec, const Tensor& dy, RoutingPlan& routing, Saved& saved) const {
  const std::span<const int64_t> offsets = routing.plan.offsets;
  const int64_t rows = dy.rows(), width = gate->value.dim(1);
  const Tensor g = saved.gate_up.col_range(0, width), u = saved.gate_up.col_range(width, width);
  {
    const Tensor dh = Tensor::empty(exec, dy.dtype(), {rows, width});
    ops::grouped_linear_backward_input(exec, dh, dy, down->value, offsets);
    routing.dweights = Tensor::empty(exec, routing.weights.dtype(), routing.weights.shape());
    if (dy.dtype() == DType::f64) {
      weigh_rows<double, double>(exec, dh, saved.inner, routing);
    } else if (dy.dtype() == DType::f32) {
      weigh_rows<float, float>(exec, dh, saved.inner, routing);
    } else {
      weigh_rows<bf16, float>(exec, dh, saved.inner, routing);
    }
    ops::swiglu_backward(exec, g, u, dh, g, u);
  }
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
