// The router and its backward, a warp per token.
#include "kernels/routing.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/routing_keys.h"

namespace hadal::kernels::cuda {
namespace {

struct Rule {
  int64_t tokens, n_experts, n_groups, n_limited_groups, top_k;
  bool softmax, group_max, normalize, forced;
  float scale;
};
static_assert(sizeof(Rule) == 48);

struct RouteRows {
  Lines<float> scores, logits, weights;
  const float* bias;
  int32_t* experts;
  RouteFindings* found;
};

// For each warp of the block, which groups are chosen.
struct KeptGroups {
  uint8_t kept[kRowsPerBlock][kMaxExperts];
};

__global__ void __launch_bounds__(kWarp) begin_findings(RouteFindings* found, const float* bias, int64_t n_experts) {
  int64_t first = n_experts;
  for (int64_t e = lane_index(); bias && e < n_experts; e += kWarp)
    if (!is_finite(bias[e]) && e < first) first = e;
  for (int bits = kWarp / 2; bits > 0; bits /= 2) {
    const int64_t other = shuffle_xor(first, bits);
    first = other < first ? other : first;
  }
  if (lane_index() != 0) return;
  found->token = INT32_MAX, found->first_logit = 0;
  found->bias_expert = first < n_experts ? int32_t(first) : RouteFindings::kNothing;
}

__global__ void __launch_bounds__(kWarp) end_findings(RouteFindings* found, Lines<float> logits) {
  if (lane_index() != 0) return;
  if (found->token == INT32_MAX) {
    found->token = RouteFindings::kNothing;
  } else {
    found->first_logit = logits.row(found->token)[0];
  }
}

// Returns whether the scores are numbers.
__device__ bool score_row(const Rule& rule, const float* logits, float* scores) {
  if (!rule.softmax) {
    bool odd = false;
    each_column(rule.n_experts, [&](int64_t e) {
      scores[e] = sigmoid(logits[e]);
      odd |= scores[e] != scores[e];
    });
    return votes(odd) == 0;
  }
  const float top = largest_in_row(logits, rule.n_experts);
  const float sum = sum_row(rule.n_experts, [&](float a, int64_t e) {
    const float x = exponential(logits[e] - top);
    scores[e] = x;
    return a + x;
  });
  warp_barrier();  // the sum's lanes are not those of the columns
  each_column(rule.n_experts, [&](int64_t e) { scores[e] = scores[e] / sum; });
  return sum == sum;
}

struct Biased {
  const float* scores;
  const float* bias;
  __device__ float operator()(int64_t e) const { return bias ? scores[e] + bias[e] : scores[e]; }
};

// A group counts as the sum of its two best experts, or as its best one.
__device__ float score_of_group(const Rule& rule, const Biased& biased, int64_t group) {
  const int64_t size = rule.n_experts / rule.n_groups;
  float best = -infinity(), second = best;
  for (int64_t e = group * size; e < (group + 1) * size; ++e) {
    const float score = biased(e), smaller = score < best ? score : best;
    second = second > smaller ? second : smaller;
    best = score > best ? score : best;
  }
  return rule.group_max || size == 1 ? best : best + second;
}

__device__ void choose_groups(const Rule& rule, const Biased& biased, uint8_t* kept) {
  each_column(rule.n_groups, [&](int64_t g) { kept[g] = 0; });
  warp_barrier();
  int64_t last = kAboveAllKeys;
  for (int64_t i = 0; i < rule.n_limited_groups; ++i) {
    last = next_key(rule.n_groups, last, [&](int64_t g) { return key_of(score_of_group(rule, biased, g), g); });
    if (lane_index() == 0) kept[index_of(last)] = 1;
  }
  warp_barrier();
}

__device__ void sort_ascending(int32_t* values, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    const int32_t value = values[i];
    int64_t j = i;
    for (; j > 0 && values[j - 1] > value; --j) values[j] = values[j - 1];
    values[j] = value;
  }
}

__device__ void choose_experts(const Rule& rule, const Biased& biased, uint8_t* kept, int32_t* experts) {
  if (rule.n_groups > 1) choose_groups(rule, biased, kept);
  const int64_t size = rule.n_experts / rule.n_groups;
  int64_t last = kAboveAllKeys;
  for (int64_t s = 0; s < rule.top_k; ++s) {
    last = next_key(rule.n_experts, last, [&](int64_t e) {
      return rule.n_groups > 1 && !kept[e / size] ? kAboveAllKeys : key_of(biased(e), e);  // masked: never below
    });
    if (lane_index() == 0) experts[s] = int32_t(index_of(last));
  }
  if (lane_index() == 0) sort_ascending(experts, rule.top_k);
}

// A token without an order among its experts: the lowest ones, weights NaN.
__device__ void route_nowhere(const Rule& rule, int32_t* experts, float* weights) {
  each_column(rule.top_k, [&](int64_t s) {
    if (!rule.forced) experts[s] = int32_t(s);
    weights[s] = float_of(0x7fc00000u);
  });
}

__global__ void __launch_bounds__(kBlock) route_rows(Rule rule, RouteRows k) {
  const int64_t t = row_of_warp();
  if (t >= rule.tokens) return;
  float *scores = k.scores.row(t), *weights = k.weights.row(t);
  int32_t* experts = k.experts + t * rule.top_k;
  const bool numbers = score_row(rule, k.logits.row(t), scores);
  if (!numbers && lane_index() == 0) atomic_min(&k.found->token, int32_t(t));
  if (!numbers || k.found->bias_expert >= 0) return route_nowhere(rule, experts, weights);
  warp_barrier();  // every lane reads all scores
  if (!rule.forced) choose_experts(rule, {scores, k.bias}, shared<KeptGroups>().kept[warp_index()], experts);
  if (lane_index() != 0) return;
  float sum = 0;
  for (int64_t s = 0; s < rule.top_k; ++s) sum += scores[experts[s]];
  const float divisor = rule.normalize ? sum + 1e-20f : 1.0f;
  for (int64_t s = 0; s < rule.top_k; ++s) weights[s] = scores[experts[s]] / divisor * rule.scale;
}

struct BackwardRows {
  Lines<float> dlogits, dweights, scores, dscores;
  const int32_t* experts;
};

__global__ void __launch_bounds__(kBlock) route_backward_rows(Rule rule, BackwardRows k) {
  const int64_t t = row_of_warp();
  if (t >= rule.tokens) return;
  const float *scores = k.scores.row(t), *dweights = k.dweights.row(t);
  const int32_t* experts = k.experts + t * rule.top_k;
  float* d = k.dlogits.row(t);
  each_column(rule.n_experts, [&](int64_t e) { d[e] = k.dscores.data ? k.dscores.row(t)[e] : 0.0f; });
  warp_barrier();
  if (lane_index() == 0) {
    float sum = 1e-20f, pull = 0;
    for (int64_t s = 0; s < rule.top_k; ++s) sum += scores[experts[s]], pull += dweights[s] * scores[experts[s]];
    for (int64_t s = 0; s < rule.top_k; ++s)
      d[experts[s]] += rule.scale * (rule.normalize ? (dweights[s] - pull / sum) / sum : dweights[s]);
  }
  warp_barrier();
  const float shift =
      rule.softmax ? sum_row(rule.n_experts, [&](float a, int64_t e) { return fused(d[e], scores[e], a); }) : 1.0f;
  warp_barrier();
  each_column(rule.n_experts, [&](int64_t e) {
    const float s = scores[e], gradient = d[e];
    d[e] = rule.softmax ? s * (gradient - shift) : gradient * (s * (shift - s));
  });
}

}  // namespace

void route(DeviceStream stream, const Route& k) {
  const auto* bias = static_cast<const float*>(k.bias);
  const Rule rule{k.tokens,  k.n_experts, k.n_groups,  k.n_limited_groups, k.top_k,
                  k.softmax, k.group_max, k.normalize, k.forced,           float(k.scale)};
  const RouteRows rows{
      lines<float>(k.scores), lines<float>(k.logits), lines<float>(k.weights), bias, k.experts, k.found};
  launch(begin_findings, {.name = "route", .threads = kWarp, .stream = stream}, k.found, bias, k.n_experts);
  Launch how = over_rows("route", k.tokens, stream);
  how.shared_bytes = sizeof(KeptGroups);
  launch(route_rows, how, rule, rows);
  launch(end_findings, {.name = "route", .threads = kWarp, .stream = stream}, k.found, lines<float>(k.logits));
}

void route_backward(DeviceStream stream, const RouteBackward& k) {
  const Rule rule{k.tokens, k.n_experts, 1, 1, k.top_k, k.softmax, false, k.normalize, false, float(k.scale)};
  launch(
      route_backward_rows, over_rows("route_backward", k.tokens, stream), rule,
      {lines<float>(k.dlogits), lines<float>(k.dweights), lines<float>(k.scores), lines<float>(k.dscores), k.experts});
}

}  // namespace hadal::kernels::cuda
