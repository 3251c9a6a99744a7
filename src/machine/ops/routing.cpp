#include "ops/routing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/routing.h"
#include "ops/kernel_rows.h"
#include "ops/pointwise.h"

namespace hadal::ops {

using namespace hadal::kernels;

namespace {

constexpr int64_t kFindingWords = sizeof(RouteFindings) / sizeof(int32_t);
static_assert(kFindingWords * sizeof(int32_t) == sizeof(RouteFindings));

void check_rule(const RouteRule& rule) {
  check(rule.n_experts >= 1 && rule.n_experts <= kMaxExperts, ErrorKind::invalid, "route: {} experts, expected 1 to {}",
        rule.n_experts, kMaxExperts);
  check(rule.n_groups >= 1 && rule.n_experts % rule.n_groups == 0, ErrorKind::invalid,
        "route: {} groups do not divide {} experts", rule.n_groups, rule.n_experts);
  check(rule.n_limited_groups >= 1 && rule.n_limited_groups <= rule.n_groups, ErrorKind::invalid,
        "route: {} limited groups, expected 1 to {}", rule.n_limited_groups, rule.n_groups);
  const int64_t reachable = rule.n_experts / rule.n_groups * rule.n_limited_groups;
  check(rule.top_k >= 1 && rule.top_k <= reachable, ErrorKind::invalid,
        "route: top_k is {}, expected 1 to {} (experts in the groups that a token may visit)", rule.top_k, reachable);
}

// [rows, cols] in the format of scores: f32, or f64 in reference precision.
Rows score_rows(const Tensor& tensor, int64_t rows, int64_t cols, DType dtype, const char* what) {
  const Rows result = kernel_rows(tensor, what);
  check_shape(tensor, rows, cols, what);
  check(result.dtype == dtype && !is_half(dtype), ErrorKind::invalid, "{} is {}; routing takes F32 (or F64 throughout)",
        what, dtype_name(tensor.dtype()));
  return result;
}

// Kernels trust positions: those of a plan made by make_plan are right if the sizes are.
const int32_t* plan_positions(const DispatchPlan& plan, int64_t tokens, int64_t top_k, const Tensor& sorted,
                              const char* what) {
  check(plan.position.count() == tokens * top_k && sorted.rows() == tokens * top_k, ErrorKind::invalid,
        "{} is {} and the plan has {} rows; {} tokens times {} slots expected", what, shape_text(sorted.shape()),
        plan.position.count(), tokens, top_k);
  return i32_vector(plan.position, tokens * top_k, "plan positions");
}

void check_given_experts(const Tensor& given, int64_t tokens, int64_t top_k, int64_t n_experts) {
  const Tensor on_host = host_copy(given);
  check_ids(on_host, 0, n_experts, "forced expert");
  const int32_t* experts = on_host.data<int32_t>();
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t s = 1; s < top_k; ++s) {
      const int32_t before = experts[t * top_k + s - 1], here = experts[t * top_k + s];
      check(before < here, ErrorKind::invalid,
            "forced experts of token {}: {} follows {}; a token's experts must ascend, each named once", t, here,
            before);
    }
}

}  // namespace

void route(const Exec& exec, const RouteRule& rule, const Tensor& logits, const Tensor& bias, Routes& routes) {
  check_rule(rule);
  const int64_t tokens = logits.rows(), n = rule.n_experts;
  const DType dtype = kernel_rows(logits, "router logits").dtype;
  const bool forced = bool(routes.experts);
  if (!forced) routes.experts = Tensor::empty(exec, DType::i32, {tokens, rule.top_k});
  check(routes.experts.count() == tokens * rule.top_k, ErrorKind::invalid, "{} forced experts for {} tokens times {}",
        routes.experts.count(), tokens, rule.top_k);
  if (!routes.scores) routes.scores = Tensor::empty(exec, logits.dtype(), {tokens, n});
  if (!routes.weights) routes.weights = Tensor::empty(exec, logits.dtype(), {tokens, rule.top_k});
  routes.found = Tensor::empty(exec, DType::i32, {kFindingWords});
  Route args{.scores = score_rows(routes.scores, tokens, n, dtype, "router scores"),
             .logits = score_rows(logits, tokens, n, dtype, "router logits"),
             .weights = score_rows(routes.weights, tokens, rule.top_k, dtype, "router weights")};
  if (bias) args.bias = wide_vector(bias, n, dtype == DType::f64, "router bias");
  args.experts = const_cast<int32_t*>(i32_vector(routes.experts, tokens * rule.top_k, "router experts"));
  if (forced) check_given_experts(routes.experts, tokens, rule.top_k, n);
  args.tokens = tokens, args.n_experts = n, args.n_groups = rule.n_groups;
  args.n_limited_groups = rule.n_limited_groups;
  args.top_k = rule.top_k, args.softmax = rule.softmax, args.group_max = rule.group_max;
  args.normalize = rule.normalize, args.scale = rule.scale, args.forced = forced;
  args.found = static_cast<RouteFindings*>(routes.found.raw()), args.lane = exec.compute;
  kernels::route(twin(exec, dtype == DType::f64), args);
}

RouteFindings findings(const Tensor& found) {
  RouteFindings result;
  const Tensor on_host = host_copy(found);
  std::memcpy(static_cast<void*>(&result), on_host.data<int32_t>(), sizeof result);
  return result;
}

void route_backward(const Exec& exec, const RouteRule& rule, const Tensor& dlogits, const Tensor& dweights,
                    const Routes& routes, const Tensor& dscores) {
  check_rule(rule);
  const int64_t tokens = routes.scores.rows(), n = rule.n_experts;
  const DType dtype = kernel_rows(routes.scores, "router scores").dtype;
  const int32_t* experts = i32_vector(routes.experts, tokens * rule.top_k, "router experts");
  const RouteBackward args{.dlogits = score_rows(dlogits, tokens, n, dtype, "router dlogits"),
                           .dweights = score_rows(dweights, tokens, rule.top_k, dtype, "router dweights"),
                           .scores = score_rows(routes.scores, tokens, n, dtype, "router scores"),
                           .dscores = dscores ? score_rows(dscores, tokens, n, dtype, "router dscores") : Rows{},
                           .experts = experts,
                           .tokens = tokens,
                           .n_experts = n,
                           .top_k = rule.top_k,
                           .softmax = rule.softmax,
                           .normalize = rule.normalize,
                           .scale = rule.scale,
                           .lane = exec.compute};
  kernels::route_backward(twin(exec, dtype == DType::f64), args);
}

namespace {

// Sequences as kernels take them; they must follow one another within the rows.
struct SequenceLists {
  Tensor begins, counts;
  bool complete = true;  // every row is in a sequence
};
SequenceLists sequence_lists(const Exec& exec, std::span<const RowRange> sequences, int64_t rows) {
  SequenceLists lists;
  std::vector<int64_t> begins, counts;
  int64_t end = 0;
  for (const RowRange& range : sequences) {
    check(range.begin >= end && range.count >= 0 && range.begin + range.count <= rows, ErrorKind::invalid,
          "balance loss: a sequence of {} rows from {} does not follow row {} within {} tokens", range.count,
          range.begin, end, rows);
    lists.complete = lists.complete && range.begin == end;
    end = range.begin + range.count;
    begins.push_back(range.begin), counts.push_back(range.count);
  }
  lists.complete = lists.complete && end == rows;
  const int64_t n = int64_t(begins.size());
  lists.begins = Tensor::from(exec, begins, {n}), lists.counts = Tensor::from(exec, counts, {n});
  return lists;
}

}  // namespace

Tensor balance_counts(const Exec& exec, const RouteRule& rule, const Tensor& scores,
                      std::span<const RowRange> sequences) {
  check_rule(rule);
  const int64_t n_sequences = int64_t(sequences.size());
  const DType dtype = kernel_rows(scores, "router scores").dtype;
  const SequenceLists lists = sequence_lists(exec, sequences, scores.rows());
  const Tensor chosen = Tensor::empty(exec, DType::i64, {n_sequences, rule.n_experts});
  const BalanceCounts args{.scores = score_rows(scores, scores.rows(), rule.n_experts, dtype, "router scores"),
                           .begins = lists.begins.address<int64_t>(),
                           .counts = lists.counts.address<int64_t>(),
                           .n_sequences = n_sequences,
                           .n_experts = rule.n_experts,
                           .top_k = rule.top_k,
                           .chosen = chosen.address<int64_t>(),
                           .lane = exec.compute};
  kernels::balance_counts(twin(exec, dtype == DType::f64), args);
  return chosen;
}

Tensor balance_losses(const Exec& exec, const RouteRule& rule, const Tensor& scores, const BalanceTotals& totals,
                      double alpha_per_sequence, const Tensor& dscores) {
  check_rule(rule);
  const int64_t tokens = scores.rows(), n = rule.n_experts, n_sequences = int64_t(totals.sequences.size());
  const DType dtype = kernel_rows(scores, "router scores").dtype;
  const SequenceLists lists = sequence_lists(exec, totals.sequences, tokens);
  check(int64_t(totals.lengths.size()) == n_sequences && totals.chosen.count() == n_sequences * n, ErrorKind::internal,
        "balance loss: {} lengths and choices {} for {} sequences", totals.lengths.size(),
        shape_text(totals.chosen.shape()), n_sequences);
  const Tensor workspace = Tensor::empty(exec, DType::f64, {n_sequences, 2 * n});
  const Tensor lengths = Tensor::from(exec, std::vector(totals.lengths.begin(), totals.lengths.end()), {n_sequences});
  const Tensor losses = Tensor::zeros(exec, DType::f64, {n_sequences});
  const BalanceLoss args{.scores = score_rows(scores, tokens, n, dtype, "router scores"),
                         .dscores = dscores ? score_rows(dscores, tokens, n, dtype, "router dscores") : Rows{},
                         .begins = lists.begins.address<int64_t>(),
                         .counts = lists.counts.address<int64_t>(),
                         .lengths = lengths.address<int64_t>(),
                         .chosen = totals.chosen.address<int64_t>(),
                         .n_sequences = n_sequences,
                         .n_experts = n,
                         .top_k = rule.top_k,
                         .alpha = alpha_per_sequence,
                         .workspace = workspace.address<double>(),
                         .losses = losses.address<double>(),
                         .lane = exec.compute};
  if (dscores && !lists.complete) dscores.zero(exec);
  kernels::balance_loss(twin(exec, dtype == DType::f64), args);
  return losses;
}

Tensor balance_losses(const Exec& exec, const RouteRule& rule, const Tensor& scores,
                      std::span<const RowRange> sequences, double alpha_per_sequence, const Tensor& dscores) {
  std::vector<int64_t> lengths;
  for (const RowRange& range : sequences) lengths.push_back(range.count);
  const Tensor chosen = balance_counts(exec, rule, scores, sequences);
  return balance_losses(exec, rule, scores, BalanceTotals{sequences, lengths, chosen}, alpha_per_sequence, dscores);
}

DispatchPlan make_plan(const Exec& exec, const Tensor& experts, int64_t n_experts) {
  const int64_t rows = experts.count();
  DispatchPlan plan;
  plan.offsets = Tensor::empty(exec, DType::i32, {n_experts + 1});
  for (Tensor* list : {&plan.token, &plan.pair}) *list = Tensor::empty(exec, DType::i32, {rows});
  plan.position = Tensor::empty(exec, DType::i32, experts.shape());
  const PlanRows args{.experts = i32_vector(experts, rows, "experts"),
                      .offsets = plan.offsets.address<int32_t>(),
                      .token = plan.token.address<int32_t>(),
                      .pair = plan.pair.address<int32_t>(),
                      .position = plan.position.address<int32_t>(),
                      .n_rows = rows,
                      .n_experts = n_experts,
                      .top_k = experts.cols()};
  check_ids(experts, 0, n_experts, "expert");
  kernels::plan_rows(twin(exec, false), args);
  return plan;
}

void sort_pairs(const Exec& exec, const Tensor& sorted, const Tensor& pairs, const DispatchPlan& plan) {
  gather_rows(exec, sorted.view({sorted.count(), 1}), pairs.view({pairs.count(), 1}), plan.pair);
}

void unsort_pairs(const Exec& exec, const Tensor& pairs, const Tensor& sorted, const DispatchPlan& plan) {
  gather_rows(exec, pairs.view({pairs.count(), 1}), sorted.view({sorted.count(), 1}), plan.position);
}

namespace {

SlotGroups slot_groups(const CombineRule& rule, int64_t rows, bool f64, const char* what) {
  const int32_t* experts = i32_vector(rule.experts, rows, what);
  check(rule.experts_per_group >= 1, ErrorKind::invalid, "{}: groups of {} experts", what, rule.experts_per_group);
  const bool fits = f64 ? rule.wire == DType::f64 : rule.wire == DType::f32 || is_half(rule.wire);
  check(fits, ErrorKind::invalid, "{}: sums of groups in {}, expected {}", what, dtype_name(rule.wire),
        f64 ? "F64" : "F32, BF16 or F16");
  return {.experts = experts, .experts_per_group = rule.experts_per_group, .wire = rule.wire};
}

}  // namespace

void combine(const Exec& exec, const Tensor& y, const Tensor& x, const DispatchPlan& plan, const Tensor& weights,
             const CombineRule& rule, Write write) {
  Combine args{.y = kernel_rows(y, "combine y"),
               .x = kernel_rows(x, "combine x"),
               .tokens = y.rows(),
               .top_k = weights.cols(),
               .cols = y.cols(),
               .add = write == Write::add,
               .lane = exec.compute};
  const bool f64 = all_f64({args.y, args.x}, "combine");
  args.weights = score_rows(weights, args.tokens, args.top_k, f64 ? DType::f64 : DType::f32, "combine weights");
  args.position = plan_positions(plan, args.tokens, args.top_k, x, "combine x");
  check_shape(x, args.tokens * args.top_k, args.cols, "combine x");
  args.groups = slot_groups(rule, args.tokens * args.top_k, f64, "combine");
  kernels::combine(twin(exec, f64), args);
}

void gather_backward(const Exec& exec, const Tensor& dx, const Tensor& d_sorted, const DispatchPlan& plan,
                     const CombineRule& rule, Write write) {
  const int64_t tokens = dx.rows(), top_k = rule.experts.cols();
  GatherBackward args{.dx = kernel_rows(dx, "gather dx"),
                      .d_sorted = kernel_rows(d_sorted, "gather d_sorted"),
                      .tokens = tokens,
                      .top_k = top_k,
                      .cols = dx.cols(),
                      .add = write == Write::add,
                      .lane = exec.compute};
  const bool f64 = all_f64({args.dx, args.d_sorted}, "gather_backward");
  args.position = plan_positions(plan, tokens, top_k, d_sorted, "gather d_sorted");
  check_shape(d_sorted, tokens * top_k, args.cols, "gather d_sorted");
  args.groups = slot_groups(rule, tokens * top_k, f64, "gather_backward");
  kernels::gather_backward(twin(exec, f64), args);
}

}  // namespace hadal::ops
