// DeepSeekMoE routing (§1.5, §2.4): scores, selection, the plan that sorts tokens by expert, combine, and the balance
// loss. Everything in FP32 (FP64 in reference precision). Ties go to the lowest index. No token is ever dropped.
// Experts, offsets and rows are I32 tensors; how many rows an expert gets is known to the plan alone, the number of all
// rows, tokens * top_k, to everyone.
#pragma once
#include <cstdint>
#include <span>

#include "kernels/routing.h"
#include "ops/write.h"
#include "tensor/tensor.h"

namespace hadal::ops {

using kernels::RouteFindings;

struct RouteRule {
  int64_t n_experts = 0, n_groups = 1, n_limited_groups = 1, top_k = 1;
  bool softmax = false;    // else sigmoid
  bool group_max = false;  // group score: max (V2) else sum of the best two (V3)
  bool normalize = true;   // divide by (sum + 1e-20)
  double scale = 1.0;
};

// What a router says of its tokens. Given experts are kept (replayed routes: selection is skipped, weights are made).
struct Routes {
  Tensor experts;  // [T, k] i32, ascending within a token
  Tensor scores;   // [T, E] sigmoid or softmax of the logits
  Tensor weights;  // [T, k] unbiased scores, normalised, scaled
  Tensor found;    // what is not finite: RouteFindings, where the kernel runs
};

// logits [T,E] -> routes; bias [E] or empty: added for selection only; masked groups count as -inf. Nothing stops on
// numbers that are not finite: see RouteFindings. Throws invalid when given experts are not ascending ids below E.
void route(const Exec& exec, const RouteRule& rule, const Tensor& logits, const Tensor& bias, Routes& routes);
RouteFindings findings(const Tensor& found);  // of Routes; waits for a device
// dlogits [T,E] = gradient through weights [T,k] (and through the balance loss, already in dscores [T,E] if given).
void route_backward(const Exec& exec, const RouteRule& rule, const Tensor& dlogits, const Tensor& dweights,
                    const Routes& routes, const Tensor& dscores);

// Sequence-wise balance loss of §2.4 over sequences (row ranges): sum over sequences of alpha * sum_i f_i P_i *
// per_sequence, where f counts the top k of the UNBIASED scores without group limit. Returns the terms of the sum, F64
// [sequences]; dscores [T,E] (may be empty) is overwritten with its gradient (only through P).
struct RowRange {
  int64_t begin = 0, count = 0;
};
Tensor balance_losses(const Exec& exec, const RouteRule& rule, const Tensor& scores,
                      std::span<const RowRange> sequences, double alpha_per_sequence, const Tensor& dscores);
// The same in two halves, where the rows of a sequence lie on several ranks: the choices of each expert, i64
// [sequences, E], are added up over the ranks in between. f is made of these, P of the rows at hand: what comes out is
// these rows' share of the loss, and their gradient is whole.
Tensor balance_counts(const Exec& exec, const RouteRule& rule, const Tensor& scores,
                      std::span<const RowRange> sequences);
struct BalanceTotals {
  std::span<const RowRange> sequences;  // rows at hand
  std::span<const int64_t> lengths;     // rows of all ranks, by sequence
  Tensor chosen;                        // of all ranks
};
Tensor balance_losses(const Exec& exec, const RouteRule& rule, const Tensor& scores, const BalanceTotals& totals,
                      double alpha_per_sequence, const Tensor& dscores);

// Plan: rows of the sorted buffer. Expert e owns rows offsets[e] .. offsets[e+1], tokens ascending; row r is token
// token[r], in its slot pair[r] % k, where pair[r] = token * k + slot; position[t,s] is the row of token t's slot s.
struct DispatchPlan {
  Tensor offsets;      // [E + 1]
  Tensor token, pair;  // [T * k]
  Tensor position;     // [T, k]
};
DispatchPlan make_plan(const Exec& exec, const Tensor& experts, int64_t n_experts);

// How combine and its mirror add a token's rows (house: bits): inside a routing group in ascending order of experts,
// the group's sum rounded to the wire type (what travels between ranks), then group after group. wire: F32 rounds
// nothing beyond FP32 sums; F64 with F64 rows.
struct CombineRule {
  Tensor experts;  // [T, k] as routed
  int64_t experts_per_group = 1;
  DType wire = DType::f32;
};
// y[t] (+)= sum over groups of round(sum over the group's slots s of weights[t,s] * x[position[t,s]]), FP32 sums.
void combine(const Exec& exec, const Tensor& y, const Tensor& x, const DispatchPlan& plan, const Tensor& weights,
             const CombineRule& rule, Write write);
// Backward of the gather into the sorted buffer, combine's mirror:
// dx[t] (+)= sum over groups of round(sum over the group's slots of d_sorted[position[t,s]])
void gather_backward(const Exec& exec, const Tensor& dx, const Tensor& d_sorted, const DispatchPlan& plan,
                     const CombineRule& rule, Write write);
// Numbers of (token, slot) pairs to the rows of the sorted buffer and back: [T, k] and [T * k], f32 (f64).
void sort_pairs(const Exec& exec, const Tensor& sorted, const Tensor& pairs, const DispatchPlan& plan);
void unsort_pairs(const Exec& exec, const Tensor& pairs, const Tensor& sorted, const DispatchPlan& plan);

}  // namespace hadal::ops
