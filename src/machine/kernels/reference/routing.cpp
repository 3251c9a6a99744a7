#include "kernels/routing.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

// Index of the largest value, the lowest index on ties; -1 if none is above minus infinity.
template <class A>
int64_t largest(const A* values, int64_t count) {
  int64_t best = -1;
  for (int64_t i = 0; i < count; ++i)
    if (values[i] > (best < 0 ? -std::numeric_limits<A>::infinity() : values[best])) best = i;
  return best;
}

template <class A>
void score_row(const Route& k, const A* logits, A* scores) {
  if (!k.softmax) {
    for (int64_t e = 0; e < k.n_experts; ++e) scores[e] = A(1) / (A(1) + std::exp(-logits[e]));
    return;
  }
  const A top = *std::max_element(logits, logits + k.n_experts);
  A sum = 0;
  for (int64_t e = 0; e < k.n_experts; ++e) sum += scores[e] = std::exp(logits[e] - top);
  for (int64_t e = 0; e < k.n_experts; ++e) scores[e] /= sum;
}

// A group's score is the sum of its two best biased scores (V2: the best one). Leaves the scores of the best groups in
// `biased` and makes those of all others minus infinity: at 0 a negative biased score would lose to them (trap 3).
template <class A>
void limit_groups(const Route& k, A* biased) {
  const int64_t size = k.n_experts / k.n_groups;
  A group_score[kMaxExperts];
  bool kept[kMaxExperts] = {};
  for (int64_t g = 0; g < k.n_groups; ++g) {
    A first = -std::numeric_limits<A>::infinity(), second = first;
    for (int64_t e = g * size; e < (g + 1) * size; ++e) {
      if (biased[e] > first)
        second = first, first = biased[e];
      else
        second = std::max(second, biased[e]);
    }
    group_score[g] = k.group_max || size == 1 ? first : first + second;
  }
  for (int64_t i = 0; i < k.n_limited_groups; ++i) {
    const int64_t g = largest(group_score, k.n_groups);
    kept[g] = true;
    group_score[g] = -std::numeric_limits<A>::infinity();
  }
  for (int64_t e = 0; e < k.n_experts; ++e)
    if (!kept[e / size]) biased[e] = -std::numeric_limits<A>::infinity();
}

// A token without an order among its experts: the lowest ones, weights NaN.
template <class A>
void route_nowhere(const Route& k, int32_t* experts, A* weights) {
  for (int64_t s = 0; s < k.top_k; ++s) {
    if (!k.forced) experts[s] = int32_t(s);
    weights[s] = std::numeric_limits<A>::quiet_NaN();
  }
}

template <class A>
int32_t first_not_finite(const A* bias, int64_t n) {
  for (int64_t e = 0; bias && e < n; ++e)
    if (!std::isfinite(bias[e])) return int32_t(e);
  return RouteFindings::kNothing;
}

// s = sigmoid(logit) per expert (V2: softmax over all); the top k of s + bias inside the best groups are visited
// (§1.5). The bias balances the load and touches nothing else: a weight is s_e / (sum of the chosen s + 1e-20) * scale.
template <class A>
void route_row(const Route& k, int64_t t, std::atomic<int64_t>& bad) {
  A* scores = k.scores.row<A>(t);
  A* weights = k.weights.row<A>(t);
  int32_t* experts = k.experts + t * k.top_k;
  score_row(k, k.logits.row<A>(t), scores);
  const bool nan = std::any_of(scores, scores + k.n_experts, [](A s) { return std::isnan(s); });
  if (nan || k.found->bias_expert >= 0) route_nowhere<A>(k, experts, weights);
  if (nan) {
    int64_t seen = bad;
    while ((seen < 0 || t < seen) && !bad.compare_exchange_weak(seen, t)) {
    }
  }
  if (nan || k.found->bias_expert >= 0) return;
  if (!k.forced) {
    A biased[kMaxExperts];
    const A* bias = static_cast<const A*>(k.bias);
    for (int64_t e = 0; e < k.n_experts; ++e) biased[e] = scores[e] + (bias ? bias[e] : A(0));
    if (k.n_groups > 1) limit_groups(k, biased);
    for (int64_t s = 0; s < k.top_k; ++s) {
      experts[s] = int32_t(largest(biased, k.n_experts));
      biased[experts[s]] = -std::numeric_limits<A>::infinity();
    }
    std::sort(experts, experts + k.top_k);
  }
  A sum = 0;
  for (int64_t s = 0; s < k.top_k; ++s) sum += scores[experts[s]];
  for (int64_t s = 0; s < k.top_k; ++s)
    weights[s] = scores[experts[s]] / (k.normalize ? sum + A(1e-20) : A(1)) * A(k.scale);
}

// weight_a = scale * s_a / S over the chosen, S = their sum + 1e-20: d s_a = scale * (dw_a - sum_b dw_b s_b / S) / S.
// All experts take the balance loss's d s. Then d logit = d s * s (1 - s), or softmax's s (d s - sum_e d s_e s_e).
template <class A>
void route_backward_row(const RouteBackward& k, int64_t t) {
  const A *scores = k.scores.row<A>(t), *dweights = k.dweights.row<A>(t);
  const int32_t* experts = k.experts + t * k.top_k;
  A* d = k.dlogits.row<A>(t);
  for (int64_t e = 0; e < k.n_experts; ++e) d[e] = k.dscores.data ? k.dscores.row<A>(t)[e] : A(0);
  A sum = A(1e-20), pull = 0;  // weight_s = scale * score_s / sum: every selected score also acts through the sum
  for (int64_t s = 0; s < k.top_k; ++s) sum += scores[experts[s]], pull += dweights[s] * scores[experts[s]];
  for (int64_t s = 0; s < k.top_k; ++s)
    d[experts[s]] += A(k.scale) * (k.normalize ? (dweights[s] - pull / sum) / sum : dweights[s]);
  if (k.softmax) {
    A mean = 0;
    for (int64_t e = 0; e < k.n_experts; ++e) mean += d[e] * scores[e];
    for (int64_t e = 0; e < k.n_experts; ++e) d[e] = scores[e] * (d[e] - mean);
  } else {
    for (int64_t e = 0; e < k.n_experts; ++e) d[e] *= scores[e] * (A(1) - scores[e]);
  }
}

template <class A>
void count_choices(const BalanceCounts& k, int64_t q) {
  const int64_t n = k.n_experts;
  int64_t* chosen = k.chosen + q * n;
  std::fill(chosen, chosen + n, 0);
  for (int64_t t = k.begins[q]; t < k.begins[q] + k.counts[q]; ++t) {
    const A* scores = k.scores.row<A>(t);
    A total = 0, left[kMaxExperts];
    for (int64_t e = 0; e < n; ++e) total += scores[e], left[e] = scores[e];
    for (int64_t s = 0; s < k.top_k; ++s) {
      const int64_t e = std::isnan(total) ? s : largest(left, n);  // of what is not a number: the lowest
      left[e] = -std::numeric_limits<A>::infinity();
      ++chosen[e];
    }
  }
}

// One sequence of T tokens (§2.4): loss = alpha * sum_e f_e P_e with f_e = E / (k T) * the times e is among the best k
// unbiased scores, P_e = mean over tokens of s_e / sum_j s_j. f is a count, without a gradient.
template <class A>
void balance_sequence(const BalanceLoss& k, int64_t q) {
  const int64_t begin = k.begins[q], count = k.counts[q], length = k.lengths[q], n = k.n_experts;
  double *f = k.workspace + q * 2 * n, *mean = f + n;
  std::fill(f, f + 2 * n, 0.0);
  k.losses[q] = 0;
  if (count == 0) return;
  for (int64_t e = 0; e < n; ++e)
    for (int64_t i = 0; i < k.chosen[q * n + e]; ++i) f[e] += double(n) / double(k.top_k * length);
  for (int64_t t = begin; t < begin + count; ++t) {
    const A* scores = k.scores.row<A>(t);
    A total = 0;
    for (int64_t e = 0; e < n; ++e) total += scores[e];
    for (int64_t e = 0; e < n; ++e) mean[e] += double(scores[e] / total) / double(length);
  }
  for (int64_t e = 0; e < n; ++e) k.losses[q] += k.alpha * f[e] * mean[e];
  if (!k.dscores.data) return;
  for (int64_t t = begin; t < begin + count; ++t) {  // P_i = mean of s_i / sum s, f is a constant
    const A* scores = k.scores.row<A>(t);
    A total = 0, pull = 0;
    for (int64_t e = 0; e < n; ++e) total += scores[e], pull += A(f[e]) * scores[e];
    for (int64_t e = 0; e < n; ++e)
      k.dscores.row<A>(t)[e] = A(k.alpha / double(length)) * (A(f[e]) - pull / total) / total;
  }
}

}  // namespace

void route(const Route& k) {
  std::atomic<int64_t> bad{-1};
  const bool f64 = k.scores.dtype == DType::f64;
  *k.found = RouteFindings();
  k.found->bias_expert = f64 ? first_not_finite(static_cast<const double*>(k.bias), k.n_experts)
                             : first_not_finite(static_cast<const float*>(k.bias), k.n_experts);
  each_row(k.lane, k.tokens, k.n_experts, [&](int64_t t) {
    if (k.scores.dtype == DType::f64)
      route_row<double>(k, t, bad);
    else
      route_row<float>(k, t, bad);
  });
  if (bad < 0) return;
  k.found->token = int32_t(bad);
  k.found->first_logit = f64 ? float(k.logits.row<double>(bad)[0]) : k.logits.row<float>(bad)[0];
}

void route_backward(const RouteBackward& k) {
  each_row(k.lane, k.tokens, k.n_experts, [&](int64_t t) {
    if (k.scores.dtype == DType::f64)
      route_backward_row<double>(k, t);
    else
      route_backward_row<float>(k, t);
  });
}

// Counting sort by expert: count, add up to offsets, deal the pairs out in order of tokens. The order is stable, so an
// expert's sums over its tokens run in the order of the tokens.
void plan_rows(const PlanRows& k) {
  std::fill(k.offsets, k.offsets + k.n_experts + 1, 0);
  for (int64_t i = 0; i < k.n_rows; ++i) ++k.offsets[k.experts[i] + 1];
  for (int64_t e = 0; e < k.n_experts; ++e) k.offsets[e + 1] += k.offsets[e];
  // While filling, offsets[e] is where expert e's next row goes: at the end it stands where e + 1 began.
  for (int64_t i = 0; i < k.n_rows; ++i) {
    const int32_t row = k.offsets[k.experts[i]]++;
    k.token[row] = int32_t(i / k.top_k);
    k.pair[row] = int32_t(i);
    k.position[i] = row;
  }
  for (int64_t e = k.n_experts; e > 0; --e) k.offsets[e] = k.offsets[e - 1];
  k.offsets[0] = 0;
}

void balance_counts(const BalanceCounts& k) {
  k.lane->parallel_for(k.n_sequences, [&](int64_t q, int) {
    if (k.scores.dtype == DType::f64)
      count_choices<double>(k, q);
    else
      count_choices<float>(k, q);
  });
}

void balance_loss(const BalanceLoss& k) {
  k.lane->parallel_for(k.n_sequences, [&](int64_t q, int) {
    if (k.scores.dtype == DType::f64)
      balance_sequence<double>(k, q);
    else
      balance_sequence<float>(k, q);
  });
}

namespace {

// The sum over routing groups of the sums of their slots, each rounded to the wire type; slot(s) is what slot s adds.
template <class A, class Wire, class Slot>
A sum_of_groups(const SlotGroups& groups, int64_t t, int64_t top_k, Slot slot) {
  const int32_t* experts = groups.experts + t * top_k;
  A total = 0;
  for (int64_t s = 0; s < top_k;) {
    const int64_t group = experts[s] / groups.experts_per_group;
    A sum = 0;
    for (; s < top_k && experts[s] / groups.experts_per_group == group; ++s) sum += slot(s);
    total += A(get(Wire(sum)));
  }
  return total;
}

}  // namespace

void combine(const Combine& k) {
  visit_numbers(
      [&](auto x, auto y, auto wire) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        using A = accumulator<X>;
        each_row(k.lane, k.tokens, k.cols, [&](int64_t t) {
          for (int64_t c = 0; c < k.cols; ++c) {
            const A sum = sum_of_groups<A, element<decltype(wire)>>(k.groups, t, k.top_k, [&](int64_t s) {
              return k.weights.row<A>(t)[s] * get(k.x.row<X>(k.position[t * k.top_k + s])[c]);
            });
            Y& to = k.y.row<Y>(t)[c];
            to = Y(k.add ? get(to) + sum : sum);
          }
        });
      },
      k.x.dtype, k.y.dtype, k.groups.wire);
}

void gather_backward(const GatherBackward& k) {
  visit_numbers(
      [&](auto from, auto to, auto wire) {
        using From = element<decltype(from)>;
        using To = element<decltype(to)>;
        using A = accumulator<From>;
        each_row(k.lane, k.tokens, k.top_k * k.cols, [&](int64_t t) {
          for (int64_t c = 0; c < k.cols; ++c) {
            const A sum = sum_of_groups<A, element<decltype(wire)>>(k.groups, t, k.top_k, [&](int64_t s) {
              return get(k.d_sorted.row<From>(k.position[t * k.top_k + s])[c]);
            });
            To& out = k.dx.row<To>(t)[c];
            out = To(k.add ? get(out) + sum : sum);
          }
        });
      },
      k.d_sorted.dtype, k.dx.dtype, k.groups.wire);
}

}  // namespace hadal::kernels::reference
