#include "ops/routing.h"

#include <algorithm>
#include <cmath>

#include "base/not_finite.h"
#include "kernels/routing.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {

using namespace hadal::kernels;

namespace {

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
  check(result.dtype == dtype && dtype != DType::bf16, ErrorKind::invalid, "{} is {}; routing takes F32 (or F64 throughout)",
        what, dtype_name(tensor.dtype()));
  return result;
}

// Kernels trust positions: those of a plan made by make_plan are right if the sizes are.
void check_plan(const DispatchPlan& plan, int64_t tokens, int64_t top_k, const Tensor& sorted, const char* what) {
  check(int64_t(plan.position.size()) == tokens * top_k && sorted.rows() == tokens * top_k, ErrorKind::invalid,
        "{} is {} and the plan has {} rows; {} tokens times {} slots expected", what, shape_text(sorted.shape()),
        plan.position.size(), tokens, top_k);
}

}  // namespace

void route(const Exec& exec, const RouteRule& rule, const Tensor& logits, const Tensor& bias, const Tensor& scores,
           std::vector<int32_t>& experts, const Tensor& weights, bool forced) {
  check_rule(rule);
  const int64_t tokens = logits.rows(), n = rule.n_experts;
  const DType dtype = kernel_rows(logits, "router logits").dtype;
  int64_t bad_token = -1;
  Route args{.scores = score_rows(scores, tokens, n, dtype, "router scores"),
             .logits = score_rows(logits, tokens, n, dtype, "router logits"),
             .weights = score_rows(weights, tokens, rule.top_k, dtype, "router weights")};
  if (bias) {
    args.bias = wide_vector(bias, n, dtype == DType::f64, "router bias");
    for (int64_t e = 0; e < n; ++e)
      if (!std::isfinite(hadal::element(bias, e)))
        throw NotFinite(fmt::format("the selection bias of expert {} is {}", e, hadal::element(bias, e)));
  }
  if (forced) {
    check(int64_t(experts.size()) == tokens * rule.top_k, ErrorKind::invalid,
          "{} forced experts for {} tokens times {}", experts.size(), tokens, rule.top_k);
    check_ids(experts.data(), tokens * rule.top_k, 0, n, "forced expert");
  } else {
    experts.resize(size_t(tokens * rule.top_k));
  }
  args.experts = experts.data();
  args.tokens = tokens, args.n_experts = n, args.n_groups = rule.n_groups,
  args.n_limited_groups = rule.n_limited_groups;
  args.top_k = rule.top_k, args.softmax = rule.softmax, args.group_max = rule.group_max,
  args.normalize = rule.normalize;
  args.scale = rule.scale, args.forced = forced, args.bad_token = &bad_token, args.lane = exec.compute;
  kernels::route(twin(exec, dtype == DType::f64), args);
  if (bad_token >= 0)
    throw NotFinite(fmt::format("the router's logits of token {} are not a number (first value {})", bad_token,
                                hadal::element(logits, bad_token * n)));
}

void route_backward(const Exec& exec, const RouteRule& rule, const Tensor& dlogits, const Tensor& dweights,
                    const Tensor& scores, std::span<const int32_t> experts, const Tensor& dscores) {
  check_rule(rule);
  const int64_t tokens = scores.rows(), n = rule.n_experts;
  const DType dtype = kernel_rows(scores, "router scores").dtype;
  check(int64_t(experts.size()) == tokens * rule.top_k, ErrorKind::invalid, "{} experts for {} tokens times {}",
        experts.size(), tokens, rule.top_k);
  check_ids(experts.data(), tokens * rule.top_k, 0, n, "expert");
  const RouteBackward args{.dlogits = score_rows(dlogits, tokens, n, dtype, "router dlogits"),
                           .dweights = score_rows(dweights, tokens, rule.top_k, dtype, "router dweights"),
                           .scores = score_rows(scores, tokens, n, dtype, "router scores"),
                           .dscores = dscores ? score_rows(dscores, tokens, n, dtype, "router dscores") : Rows{},
                           .experts = experts.data(),
                           .tokens = tokens,
                           .n_experts = n,
                           .top_k = rule.top_k,
                           .softmax = rule.softmax,
                           .normalize = rule.normalize,
                           .scale = rule.scale,
                           .lane = exec.compute};
  kernels::route_backward(twin(exec, dtype == DType::f64), args);
}

double balance_loss(const Exec& exec, const RouteRule& rule, const Tensor& scores, std::span<const RowRange> sequences,
                    double alpha_per_sequence, const Tensor& dscores) {
  check_rule(rule);
  const int64_t tokens = scores.rows(), n = rule.n_experts, n_sequences = int64_t(sequences.size());
  const DType dtype = kernel_rows(scores, "router scores").dtype;
  Tensor workspace = Tensor::empty(exec, DType::f64, {n_sequences, 2 * n});
  std::vector<int64_t> begins, counts;
  std::vector<double> losses(sequences.size());
  int64_t end = 0;
  bool complete = true;  // every token is in a sequence
  for (const RowRange& range : sequences) {
    check(range.begin >= end && range.count >= 0 && range.begin + range.count <= tokens, ErrorKind::invalid,
          "balance loss: a sequence of {} rows from {} does not follow row {} within {} tokens", range.count,
          range.begin, end, tokens);
    complete = complete && range.begin == end;
    end = range.begin + range.count;
    begins.push_back(range.begin), counts.push_back(range.count);
  }
  const BalanceLoss args{.scores = score_rows(scores, tokens, n, dtype, "router scores"),
                         .dscores = dscores ? score_rows(dscores, tokens, n, dtype, "router dscores") : Rows{},
                         .begins = begins.data(),
                         .counts = counts.data(),
                         .n_sequences = n_sequences,
                         .n_experts = n,
                         .top_k = rule.top_k,
                         .alpha = alpha_per_sequence,
                         .workspace = workspace.data<double>(),
                         .losses = losses.data(),
                         .lane = exec.compute};
  if (dscores && !(complete && end == tokens)) dscores.zero();
  kernels::balance_loss(twin(exec, dtype == DType::f64), args);
  double loss = 0;
  for (double part : losses) loss += part;
  return loss;
}

DispatchPlan make_plan(std::span<const int32_t> experts, int64_t n_tokens, int64_t top_k, int64_t n_experts) {
  const int64_t rows = n_tokens * top_k;
  check(int64_t(experts.size()) == rows, ErrorKind::invalid, "{} experts for {} tokens times {}", experts.size(),
        n_tokens, top_k);
  check_ids(experts.data(), rows, 0, n_experts, "expert");
  DispatchPlan plan;
  plan.offsets.assign(size_t(n_experts) + 1, 0);
  plan.token.resize(size_t(rows)), plan.slot.resize(size_t(rows)), plan.position.resize(size_t(rows));
  for (int32_t e : experts) ++plan.offsets[size_t(e) + 1];
  for (int64_t e = 0; e < n_experts; ++e) plan.offsets[size_t(e) + 1] += plan.offsets[size_t(e)];
  std::vector<int64_t> next(plan.offsets.begin(), plan.offsets.end() - 1);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = next[size_t(experts[size_t(i)])]++;
    plan.token[size_t(row)] = int32_t(i / top_k);
    plan.slot[size_t(row)] = int32_t(i % top_k);
    plan.position[size_t(i)] = int32_t(row);
  }
  return plan;
}

namespace {

SlotGroups slot_groups(const CombineRule& rule, int64_t rows, bool f64, const char* what) {
  check(int64_t(rule.experts.size()) == rows, ErrorKind::invalid, "{}: {} experts for {} rows", what,
        rule.experts.size(), rows);
  check(rule.experts_per_group >= 1, ErrorKind::invalid, "{}: groups of {} experts", what, rule.experts_per_group);
  const bool fits = f64 ? rule.wire == DType::f64 : rule.wire == DType::f32 || rule.wire == DType::bf16;
  check(fits, ErrorKind::invalid, "{}: sums of groups in {}, expected {}", what, dtype_name(rule.wire),
        f64 ? "F64" : "F32 or BF16");
  const DType wire = f64 ? DType::f64 : rule.wire == DType::bf16 ? DType::bf16 : DType::f32;
  return {.experts = rule.experts.data(), .experts_per_group = rule.experts_per_group, .wire = wire};
}

}  // namespace

void combine(const Exec& exec, const Tensor& y, const Tensor& x, const DispatchPlan& plan, const Tensor& weights,
             const CombineRule& rule, Write write) {
  Combine args{.y = kernel_rows(y, "combine y"),
               .x = kernel_rows(x, "combine x"),
               .position = plan.position.data(),
               .tokens = y.rows(),
               .top_k = weights.cols(),
               .cols = y.cols(),
               .add = write == Write::add,
               .lane = exec.compute};
  const bool f64 = all_f64({args.y, args.x}, "combine");
  args.weights = score_rows(weights, args.tokens, args.top_k, f64 ? DType::f64 : DType::f32, "combine weights");
  check_plan(plan, args.tokens, args.top_k, x, "combine x");
  check_shape(x, args.tokens * args.top_k, args.cols, "combine x");
  args.groups = slot_groups(rule, args.tokens * args.top_k, f64, "combine");
  kernels::combine(twin(exec, f64), args);
}

void gather_backward(const Exec& exec, const Tensor& dx, const Tensor& d_sorted, const DispatchPlan& plan,
                     const CombineRule& rule, Write write) {
  const int64_t tokens = dx.rows(), top_k = tokens > 0 ? int64_t(rule.experts.size()) / tokens : 1;
  GatherBackward args{.dx = kernel_rows(dx, "gather dx"),
                      .d_sorted = kernel_rows(d_sorted, "gather d_sorted"),
                      .position = plan.position.data(),
                      .tokens = tokens,
                      .top_k = top_k,
                      .cols = dx.cols(),
                      .add = write == Write::add,
                      .lane = exec.compute};
  const bool f64 = all_f64({args.dx, args.d_sorted}, "gather_backward");
  check_plan(plan, tokens, top_k, d_sorted, "gather d_sorted");
  check_shape(d_sorted, tokens * top_k, args.cols, "gather d_sorted");
  args.groups = slot_groups(rule, tokens * top_k, f64, "gather_backward");
  kernels::gather_backward(twin(exec, f64), args);
}

}  // namespace hadal::ops
