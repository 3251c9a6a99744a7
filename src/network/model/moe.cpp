#include "model/moe.h"

#include "base/error.h"
#include "nn/product_watch.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {

namespace {

// Rows that go to experts, each token's to all that it visits.
Activation visiting_rows(const Exec& exec, const Activation& of_tokens, const Tensor& token) {
  const Activation rows = ops::gather_rows(exec, of_tokens, token);
  if (exec.watch) exec.watch->gathered(exec, of_tokens, rows, token);
  return rows;
}

}  // namespace

ops::RouteRule route_rule(const ModelConfig& config) {
  ops::RouteRule rule;
  rule.n_experts = config.n_routed_experts;
  rule.n_groups = config.n_groups;
  rule.n_limited_groups = config.n_limited_groups;
  rule.top_k = config.n_experts_per_token;
  rule.softmax = config.score_function == ScoreFunction::softmax;
  rule.group_max = config.group_score == GroupScore::max;
  rule.normalize = config.normalize_top_k;
  rule.scale = config.routed_scale;
  return rule;
}

ops::CombineRule Moe::combine_rule(const Pass& pass, const Routing& routing) const {
  const bool narrow = combine_wire == Recipe::Wire::bf16 && pass.dtype == DType::f32;
  return {routing.routes.experts, rule.n_experts / rule.n_groups, narrow ? DType::bf16 : pass.dtype};
}

// s = sigmoid(W x) per expert; selection by s + bias among the best groups, weights from s alone: the bias balances the
// load and touches no gradient. The balance loss sees the unlimited choice of each sequence.
void Moe::route(const Pass& pass, const Rows& rows, const Tensor& x, Routing& routing) const {
  PartClock::Scope scope(pass.clock, Part::router);
  const int64_t n = x.rows();
  const Tensor logits = Tensor::empty(pass.exec, router.weight->value.dtype, {n, rule.n_experts});
  router.forward(pass.exec, logits, x);
  ops::route(pass.exec, rule, logits, bias ? bias->value.plain : Tensor(), routing.routes);
  routing.plan = ops::make_plan(pass.exec, routing.routes.experts.view({n, rule.top_k}), rule.n_experts);
  if (pass.balance_alpha == 0) return;
  if (pass.keep) routing.dscores = Tensor::empty(pass.exec, logits.dtype(), {n, rule.n_experts});
  const Tensor& scores = routing.routes.scores;
  if (!rows.split) {
    routing.balance_losses =
        ops::balance_losses(pass.exec, rule, scores, rows.sequences, pass.balance_alpha, routing.dscores);
    return;
  }
  // Rows of a sequence on several ranks: only how often each expert is chosen must be known of all of them.
  const Tensor chosen = ops::balance_counts(pass.exec, rule, scores, rows.sequences);
  rows.split->add_up(chosen);
  routing.balance_losses = ops::balance_losses(pass.exec, rule, scores, {rows.sequences, rows.lengths, chosen},
                                               pass.balance_alpha, routing.dscores);
}

// A token's row goes to each of its experts once: no capacity, nothing is dropped. The weights travel along, for the
// experts' backward.
ExpertRows Moe::dispatch(const Pass& pass, const Activation& x, const Routing& routing) const {
  PartClock::Scope scope(pass.clock, Part::dispatch);
  ExpertRows sent;
  sent.rows = visiting_rows(pass.exec, x, routing.plan.token);
  if (pass.keep) {
    sent.weight = Tensor::empty(pass.exec, routing.routes.weights.dtype(), {sent.rows.rows()});
    ops::sort_pairs(pass.exec, sent.weight, routing.routes.weights, routing.plan);
  }
  sent.offsets = routing.plan.offsets;
  return sent;
}

// y_t += sum over routing groups of round(sum over the group's experts e of weight_te * E_e(x_t)), ascending (§1.5). A
// group's sum is what travels when experts lie on several ranks: rounded here too, all layouts have the same bits.
void Moe::combine(const Pass& pass, const Tensor& y, const Tensor& expert_rows, const Routing& routing) const {
  PartClock::Scope scope(pass.clock, Part::dispatch);
  ops::combine(pass.exec, y, expert_rows, routing.plan, routing.routes.weights, combine_rule(pass, routing),
               ops::Write::add);
}

// Each row of a token needs the token's dy, unweighted: its weight travelled with dispatch and is applied by the
// experts. Codes are made per token, once, before rows are copied.
Activation Moe::combine_backward(const Pass& pass, const Tensor& dy, const Routing& routing) const {
  PartClock::Scope scope(pass.clock, Part::dispatch);
  return visiting_rows(pass.exec, experts.down.recipe.dgrad_operand(pass.exec, dy), routing.plan.token);
}

// Dispatch copied a token to each of its experts, so dx is the sum of its rows' gradients, in the order of combine; and
// d weight of each row goes back to its (token, slot).
void Moe::dispatch_backward(const Pass& pass, const Tensor& dx, const Experts::Gradients& d, Routing& routing,
                            ops::Write write) const {
  PartClock::Scope scope(pass.clock, Part::dispatch);
  ops::gather_backward(pass.exec, dx, d.rows, routing.plan, combine_rule(pass, routing), write);
  routing.dweights = Tensor::empty(pass.exec, d.weight.dtype(), {dx.rows(), rule.top_k});
  ops::unsort_pairs(pass.exec, routing.dweights, d.weight, routing.plan);
}

// d weights and the balance loss's d scores become d logits; dx += d logits W. Beside the balance loss a router learns
// from the experts that were chosen alone (§1.5): choosing has no gradient.
void Moe::route_backward(const Pass& pass, const Tensor& dx, Routing& routing) const {
  PartClock::Scope scope(pass.clock, Part::router);
  routing.dlogits = Tensor::empty(pass.exec, routing.routes.scores.dtype(), {dx.rows(), rule.n_experts});
  ops::route_backward(pass.exec, rule, routing.dlogits, routing.dweights, routing.routes, routing.dscores);
  router.backward_input(pass.exec, dx, routing.dlogits, ops::Write::add);
}

}  // namespace hadal
