#include "model/experts.h"

#include <algorithm>

#include "nn/product_watch.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {

Activation ExpertRows::sorted(const Exec& exec, const Activation& of_tokens) const {
  if (!token) return of_tokens;
  const Activation rows = ops::gather_rows(exec, of_tokens, token);
  if (exec.watch) exec.watch->gathered(exec, of_tokens, rows, token);
  return rows;
}

void Experts::restore(const Exec& exec, const ExpertRows& x, Saved& saved) const {
  hadal::restore(exec, saved.gate_up, saved.codes);
  if (saved.gate_up || x.count() == 0) return;
  multiply_gate_up(exec, x, saved);
  keep(exec, saved);
  hadal::restore(exec, saved.gate_up, saved.codes);
}

void Experts::multiply_gate_up(const Exec& exec, const ExpertRows& x, Saved& saved) const {
  const int64_t width = gate.out_features();
  saved.gate_up = Tensor::empty(exec, x.rows.dtype(), {x.count(), 2 * width});
  const Activation operand = gate.recipe.fprop_operand(exec, x.sorted(exec, x.rows));
  gate.forward(exec, saved.gate_up.col_range(0, width), operand, x.offsets);
  up.forward(exec, saved.gate_up.col_range(width, width), operand, x.offsets);
}

// Every expert multiplies its own run of rows: y = W_down (silu(W_gate x) * W_up x) (§1.2). The router's weight comes
// in at combine, where a token's rows meet.
Tensor Experts::forward(const Exec& exec, const ExpertRows& x, Saved& saved) const {
  const int64_t n = x.count(), width = gate.out_features();
  if (n == 0) return Tensor::empty(exec, x.rows.dtype(), {0, x.rows.cols()});
  multiply_gate_up(exec, x, saved);
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
  const int64_t n = x.count(), width = gate.out_features();
  Gradients result{Tensor::empty(exec, dy.dtype(), {n, dy.cols()}), Tensor::empty(exec, x.weight.dtype(), {n})};
  if (n == 0) return result;
  saved.d_gate_up = saved.gate_up;
  saved.gate_up.reset();
  const Tensor dg = saved.d_gate_up.col_range(0, width), du = saved.d_gate_up.col_range(width, width);
  saved.inner = Tensor::empty(exec, dy.dtype(), {n, width});
  down.backward_input(exec, saved.inner, x.sorted(exec, dy), x.offsets);
  ops::swiglu_weighted_backward(exec,
                                {.dh = saved.inner, .g = dg, .u = du, .weight = x.weight, .dweight = result.weight});
  gate.backward_input(exec, result.rows, dg, x.offsets);
  up.backward_input(exec, result.rows, du, x.offsets, ops::Write::add);
  saved.dy = dy;
  return result;
}

// Over each expert's rows: dW_down += dy^T (w h), dW_gate += dg^T x, dW_up += du^T x. x is what dispatch brought, kept
// since then: W may come long after, and sends nothing again. What was sorted for B is sorted again: kept, it would be
// as large as a token's experts are many.
void Experts::backward_weight(const Exec& exec, std::span<const ExpertRows> x, std::span<Saved> saved,
                              const BeforeSource& before) const {
  const int64_t width = gate.out_features();
  if (std::all_of(x.begin(), x.end(), [](const ExpertRows& rows) { return rows.count() == 0; })) {
    for (size_t s = 0; s < x.size() && before; ++s) before(s);
    for (const GroupedLinear* linear : {&down, &gate, &up}) linear->weight->contribute_nothing();
    return;
  }
  // All three are open while a source's rows are at hand; they are complete in the order in which nothing comes.
  up.weight->contribute([&](const Tensor& d_up, ops::Write to_up) {
    gate.weight->contribute([&](const Tensor& d_gate, ops::Write to_gate) {
      down.weight->contribute([&](const Tensor& d_down, ops::Write to_down) {
        for (size_t s = 0; s < x.size(); ++s) {
          if (before) before(s);
          if (x[s].count() == 0) continue;
          Saved& kept = saved[s];
          down.weight_product(exec, d_down, x[s].sorted(exec, kept.dy), kept.inner, x[s].offsets, to_down);
          kept.dy.reset(), kept.inner.reset();
          const Activation rows = x[s].sorted(exec, x[s].rows);
          gate.weight_product(exec, d_gate, kept.d_gate_up.col_range(0, width), rows, x[s].offsets, to_gate);
          up.weight_product(exec, d_up, kept.d_gate_up.col_range(width, width), rows, x[s].offsets, to_up);
          kept = Saved();
          to_down = to_gate = to_up = ops::Write::add;
        }
      });
    });
  });
}

void Experts::each_parameter(const ParameterVisitor& visit) const {
  for (const GroupedLinear* linear : {&gate, &up, &down}) visit(*linear->weight);
}

}  // namespace hadal
