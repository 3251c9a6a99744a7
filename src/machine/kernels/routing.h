// DeepSeekMoE routing (§1.5, §2.4): scores, group-limited selection, balance loss, and the movement of rows to and from
// experts. Scores, weights and their gradients are f32 (f64 in reference precision). Ties go to the lowest index.
#pragma once
#include "base/limits.h"
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

// What is not finite does not stop a router: a token whose scores are NaN visits the lowest experts with weights NaN,
// all tokens do under a selection bias that is not finite; the first of each is reported here (kNothing: none).
struct RouteFindings {
  static constexpr int32_t kNothing = -1;
  int32_t token = kNothing;        // first token whose logits are not a number
  float first_logit = 0;           // of that token
  int32_t bias_expert = kNothing;  // first expert whose selection bias is not finite
};

struct Route {
  Rows scores, logits, weights;  // [tokens, experts], the same, [tokens, top_k]
  const void* bias = nullptr;    // [experts] or null; for selection only
  int32_t* experts = nullptr;    // [tokens, top_k], ascending within a token; read instead of written when forced
  int64_t tokens = 0, n_experts = 0, n_groups = 1, n_limited_groups = 1, top_k = 1;
  bool softmax = false, group_max = false, normalize = true, forced = false;
  double scale = 1;
  RouteFindings* found = nullptr;  // written whole
  Lane* lane = nullptr;
};

struct RouteBackward {
  Rows dlogits, dweights, scores;
  Rows dscores;  // data null: no further gradient
  const int32_t* experts = nullptr;
  int64_t tokens = 0, n_experts = 0, top_k = 1;
  bool softmax = false, normalize = true;
  double scale = 1;
  Lane* lane = nullptr;
};

// The balance loss in two halves, so that the rows of a sequence may lie on several ranks, which add up `chosen` in
// between. One task per sequence. First how often each expert is among the best top_k unbiased scores of a row:
struct BalanceCounts {
  Rows scores;
  const int64_t* begins = nullptr;  // [n_sequences] first row
  const int64_t* counts = nullptr;  // [n_sequences] rows
  int64_t n_sequences = 0, n_experts = 0, top_k = 1;
  int64_t* chosen = nullptr;  // [n_sequences, n_experts]
  Lane* lane = nullptr;
};
// ... then the loss, of which the rows at hand give their share, and its gradient.
struct BalanceLoss {
  Rows scores, dscores;              // dscores.data null: no gradient
  const int64_t* begins = nullptr;   // [n_sequences] first row
  const int64_t* counts = nullptr;   // [n_sequences] rows
  const int64_t* lengths = nullptr;  // [n_sequences] rows of the whole sequence, here and elsewhere
  const int64_t* chosen = nullptr;   // [n_sequences, n_experts] over the whole sequence
  int64_t n_sequences = 0, n_experts = 0, top_k = 1;
  double alpha = 0;
  double* workspace = nullptr;  // [n_sequences, 2 * n_experts]: f and sums of P
  double* losses = nullptr;     // [n_sequences]
  Lane* lane = nullptr;
};

// A token's slots, experts ascending, fall into runs of one routing group each (experts_per_group experts). What
// belongs to a run is summed in FP32 (FP64) and rounded to `wire`, the type in which a group's sum travels between
// ranks; then runs are added in order. On one rank too: so every layout of the experts has the same bits.
struct SlotGroups {
  const int32_t* experts = nullptr;  // [tokens, top_k] ascending within a token
  int64_t experts_per_group = 1;
  DType wire = DType::f32;  // f32, bf16 or f16 (f64 with f64); f32 rounds nothing
};

// y[t] (+)= sum over groups of round(sum over s of the group of weights[t,s] * x[position[t,s]])
struct Combine {
  Rows y, x, weights;
  SlotGroups groups;
  const int32_t* position = nullptr;  // [tokens, top_k]
  int64_t tokens = 0, top_k = 1, cols = 0;
  bool add = false;
  Lane* lane = nullptr;
};

// dx[t] (+)= sum over groups of round(sum over s of the group of d_sorted[position[t,s]])
struct GatherBackward {
  Rows dx, d_sorted;
  SlotGroups groups;
  const int32_t* position = nullptr;
  int64_t tokens = 0, top_k = 1, cols = 0;
  bool add = false;
  Lane* lane = nullptr;
};

// Counting sort of (token, slot) pairs by expert, tokens ascending within an expert. Row r of the sorted buffer is pair
// pair[r] = token * top_k + slot; position is its inverse. Integers only: the reference serves every instruction set.
struct PlanRows {
  const int32_t* experts = nullptr;                                // [tokens * top_k]
  int32_t* offsets = nullptr;                                      // [n_experts + 1]
  int32_t *token = nullptr, *pair = nullptr, *position = nullptr;  // [tokens * top_k]
  int64_t n_rows = 0, n_experts = 0, top_k = 1;
};
HADAL_DECLARE_FORMULA(plan_rows, PlanRows)

HADAL_DECLARE_KERNEL(route, Route)
HADAL_DECLARE_KERNEL(route_backward, RouteBackward)
HADAL_DECLARE_KERNEL(balance_counts, BalanceCounts)
HADAL_DECLARE_KERNEL(balance_loss, BalanceLoss)
HADAL_DECLARE_KERNEL(combine, Combine)
HADAL_DECLARE_KERNEL(gather_backward, GatherBackward)

}  // namespace hadal::kernels
