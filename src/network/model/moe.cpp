#include "model/moe.h"

#include "base/error.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {

ops::RouteRule route_rule(const ModelConfig& config) {
  ops::RouteRule rule;
  rule.n_experts = config.n_routed_experts;
  rule.n_groups = config.n_groups;
  rule.n_limited_groups = config.n_limited_groups;
  rule.top_k = config.n_experts_per_token;
  rule.softmax = config.score_function == "softmax";
  rule.group_max = config.group_score == "max";
  rule.normalize = config.normalize_top_k;
  rule.scale = config.routed_scale;
  return rule;
}

void Moe::route(const Run& run, const Rows& rows, const Tensor& x, RoutingPlan& routing) const {
  PartClock::Scope scope(run.clock, Part::router);
  const int64_t n = x.rows();
  const DType wide = router.weight->value.dtype();
  const Tensor logits = Tensor::empty(run.exec, wide, {n, rule.n_experts});
  router.forward(run.exec, logits, x);
  routing.scores = Tensor::empty(run.exec, wide, {n, rule.n_experts});
  routing.weights = Tensor::empty(run.exec, wide, {n, rule.top_k});
  if (routing.forced) {
    check(int64_t(routing.experts.size()) == n * rule.top_k, ErrorKind::invalid,
          "replayed routes hold {} experts, but {} tokens visit {} each", routing.experts.size(), n, rule.top_k);
  }
  ops::route(run.exec, rule, logits, bias ? bias->value : Tensor(), routing.scores, routing.experts, routing.weights,
             routing.forced);
  routing.plan = ops::make_plan(routing.experts, n, rule.top_k, rule.n_experts);
  if (run.balance_alpha != 0) {
    if (run.keep) routing.dscores = Tensor::empty(run.exec, wide, {n, rule.n_experts});
    routing.balance_loss =
        ops::balance_loss(run.exec, rule, routing.scores, rows.sequences, run.balance_alpha, routing.dscores);
  }
}

ops::CombineRule Moe::combine_rule(const Run& run, const RoutingPlan& routing) const {
  const bool narrow = combine_wire == Recipe::Wire::bf16 && run.dtype != DType::f64;
  return {routing.experts, rule.n_experts / rule.n_groups, narrow ? DType::bf16 : run.dtype};
}

Activation Moe::dispatch(const Run& run, const Activation& x, const RoutingPlan& routing) const {
  PartClock::Scope scope(run.clock, Part::dispatch);
  return ops::gather_rows(run.exec, x, routing.plan.token);
}

void Moe::combine(const Run& run, const Tensor& y, const Tensor& expert_rows, const RoutingPlan& routing) const {
  PartClock::Scope scope(run.clock, Part::dispatch);
  ops::combine(run.exec, y, expert_rows, routing.plan, routing.weights, combine_rule(run, routing), ops::Write::add);
}

void Moe::forward(const Run& run, const Rows& rows, const Tensor& y, const Tensor& x, Saved& saved) const {
  route(run, rows, x, saved.routing);
  saved.input = experts.gate.recipe.fprop_operand(run.exec, x);
  if (shared.gate.weight) {
    PartClock::Scope scope(run.clock, Part::shared_experts);
    shared.forward(run.exec, y, saved.input, ops::Write::add, saved.shared);
  }
  Activation sorted = dispatch(run, saved.input, saved.routing);
  Tensor expert_rows;
  {
    PartClock::Scope scope(run.clock, Part::experts);
    expert_rows = experts.forward(run.exec, sorted, saved.routing.plan.offsets, saved.experts);
  }
  sorted.reset();
  combine(run, y, expert_rows, saved.routing);
}

void Moe::drop(Recompute recompute, Saved& saved) const {
  if (recompute != Recompute::none) saved.input.reset();
  if (recompute != Recompute::all) return;
  saved.experts.gate_up.reset();
  saved.shared.gate_up.reset();
}

void Moe::restore(const Run& run, const Tensor& x, Saved& saved) const {
  if (!saved.input) saved.input = experts.gate.recipe.fprop_operand(run.exec, x);
  if (shared.gate.weight) {
    PartClock::Scope scope(run.clock, Part::shared_experts);
    shared.restore(run.exec, saved.input, saved.shared);
  }
  PartClock::Scope scope(run.clock, Part::experts);
  experts.restore(
      run.exec, [&] { return dispatch(run, saved.input, saved.routing); }, saved.routing.plan.offsets, saved.experts);
}

Tensor Moe::backward_input(const Run& run, const Tensor& dy, Saved& saved) const {
  RoutingPlan& routing = saved.routing;
  const Tensor dx = Tensor::empty(run.exec, dy.dtype(), {dy.rows(), dy.cols()});
  // The backward of combine is a dispatch.
  Activation dy_sorted = dispatch(run, experts.down.recipe.dgrad_operand(run.exec, dy), routing);
  Tensor d_sorted;
  {
    PartClock::Scope scope(run.clock, Part::experts);
    d_sorted = experts.backward_input(run.exec, dy_sorted, routing, saved.experts);
  }
  dy_sorted.reset();
  // The order of a schedule: the shared expert has its gradient before the routed ones' comes back.
  if (shared.gate.weight) {
    PartClock::Scope scope(run.clock, Part::shared_experts);
    shared.backward_input(run.exec, dx, dy, ops::Write::overwrite, saved.shared);
  }
  {
    PartClock::Scope scope(run.clock, Part::dispatch);
    ops::gather_backward(run.exec, dx, d_sorted, routing.plan, combine_rule(run, routing),
                         shared.gate.weight ? ops::Write::add : ops::Write::overwrite);
  }
  d_sorted.reset();
  PartClock::Scope scope(run.clock, Part::router);
  routing.dlogits = Tensor::empty(run.exec, routing.scores.dtype(), {dy.rows(), rule.n_experts});
  ops::route_backward(run.exec, rule, routing.dlogits, routing.dweights, routing.scores, routing.experts,
                      routing.dscores);
  router.backward_input(run.exec, dx, routing.dlogits, ops::Write::add);
  return dx;
}

void Moe::backward_weight(const Run& run, const Tensor& x, Saved& saved) const {
  {
    PartClock::Scope scope(run.clock, Part::experts);
    experts.backward_weight(
        run.exec, [&] { return dispatch(run, saved.input, saved.routing); }, saved.routing.plan.offsets, saved.experts);
  }
  if (shared.gate.weight) {
    PartClock::Scope scope(run.clock, Part::shared_experts);
    shared.backward_weight(run.exec, saved.input, saved.shared);
  }
  PartClock::Scope scope(run.clock, Part::router);
  router.backward_weight(run.exec, saved.routing.dlogits, x);
  saved = Saved();
}

}  // namespace hadal
