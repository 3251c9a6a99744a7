// Selection works on 64-bit keys: the score's bits made orderable as integers above, the reversed index below. The
// largest key is the best score and, among equal ones, the lowest index; taking it needs no branch and vectorises.
#include "kernels/routing.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kTaken = INT64_MIN;

HADAL_INLINE int64_t key_of(float score, int64_t index) {
  int32_t bits;
  __builtin_memcpy(&bits, &score, sizeof(bits));
  bits ^= (bits >> 31) & 0x7fffffff;
  return int64_t(uint64_t(uint32_t(bits)) << 32 | (0xffffffffu - uint32_t(index)));
}
HADAL_INLINE int64_t index_of(int64_t key) { return int64_t(0xffffffffu - uint32_t(uint64_t(key))); }

// Takes the largest key out of `keys` and returns the index it names.
HADAL_INLINE int64_t take_largest(int64_t* keys, int64_t count) {
  int64_t best = kTaken;
  for (int64_t i = 0; i < count; ++i) best = keys[i] > best ? keys[i] : best;
  for (int64_t i = 0; i < count; ++i) keys[i] = keys[i] == best ? kTaken : keys[i];
  return index_of(best);
}

HADAL_INLINE void sort_ascending(int32_t* values, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    const int32_t value = values[i];
    int64_t j = i;
    for (; j > 0 && values[j - 1] > value; --j) values[j] = values[j - 1];
    values[j] = value;
  }
}

// Returns whether the scores are numbers.
HADAL_INLINE bool score_row(const Route& k, const float* logits, float* scores) {
  const int64_t n_experts = k.n_experts;
  if (!k.softmax) {
    V odd = zero();  // NaN in any lane that saw one
    each_vector(n_experts, [&](int64_t c, auto n) {
      const V s = sigmoid(load_lanes(logits + c, n));
      store_lanes(scores + c, s, n);
      odd = add(odd, mul(s, zero()));
    });
    return reduce_add(odd) == 0.0f;
  }
  const V lowest = broadcast(-__builtin_inff());
  V top = lowest;
  each_vector(n_experts, [&](int64_t c, auto n) { top = max(top, keep_lanes(load_lanes(logits + c, n), lowest, n)); });
  const V shift = broadcast(reduce_max(top));
  const float sum = sum_vectors(n_experts, [&](V a, int64_t c, auto n) {
    const V e = keep_lanes(exp(sub(load_lanes(logits + c, n), shift)), zero(), n);
    store_lanes(scores + c, e, n);
    return add(a, e);
  });
  const V total = broadcast(sum);
  each_vector(n_experts, [&](int64_t c, auto n) { store_lanes(scores + c, div(load_lanes(scores + c, n), total), n); });
  return sum == sum;
}

// Writes the keys of the experts in the best groups and returns how many: masked groups are not there at all (trap 3).
HADAL_INLINE int64_t keys_of_best_groups(const Route& k, const float* biased, int64_t* keys) {
  const int64_t size = k.n_experts / k.n_groups;
  int64_t group_keys[kMaxExperts];
  int32_t kept[kMaxExperts];
  for (int64_t g = 0; g < k.n_groups; ++g) {
    float best = -__builtin_inff(), second = best;
    for (int64_t e = g * size; e < (g + 1) * size; ++e) {
      const float score = biased[e], smaller = score < best ? score : best;
      second = second > smaller ? second : smaller;
      best = score > best ? score : best;
    }
    group_keys[g] = key_of(k.group_max || size == 1 ? best : best + second, g);
  }
  for (int64_t i = 0; i < k.n_limited_groups; ++i) kept[i] = int32_t(take_largest(group_keys, k.n_groups));
  int64_t n_keys = 0;
  for (int64_t i = 0; i < k.n_limited_groups; ++i)
    for (int64_t e = kept[i] * size; e < (kept[i] + 1) * size; ++e) keys[n_keys++] = key_of(biased[e], e);
  return n_keys;
}

// The top k of s + bias, in the best groups (§1.5). The bias, which balances the load, is seen here and nowhere else:
// weights and gradients know the score alone. Ascending order of experts is what combine's sums follow.
HADAL_INLINE void choose_experts(const Route& k, const float* scores, int32_t* experts) {
  float biased[kMaxExperts];
  int64_t keys[kMaxExperts];
  const float* bias = static_cast<const float*>(k.bias);
  each_vector(k.n_experts, [&](int64_t c, auto n) {
    const V s = load_lanes(scores + c, n);
    store_lanes(biased + c, bias ? add(s, load_lanes(bias + c, n)) : s, n);
  });
  int64_t n_keys = k.n_experts;
  if (k.n_groups > 1) {
    n_keys = keys_of_best_groups(k, biased, keys);
  } else {
    for (int64_t e = 0; e < n_keys; ++e) keys[e] = key_of(biased[e], e);
  }
  for (int64_t s = 0; s < k.top_k; ++s) experts[s] = int32_t(take_largest(keys, n_keys));
  sort_ascending(experts, k.top_k);
}

// A token without an order among its experts: the lowest ones, weights NaN.
HADAL_INLINE void route_nowhere(const Route& k, int32_t* experts, float* weights) {
  for (int64_t s = 0; s < k.top_k; ++s) {
    if (!k.forced) experts[s] = int32_t(s);
    weights[s] = __builtin_nanf("");
  }
}

HADAL_INLINE int32_t first_not_finite(const float* bias, int64_t n) {
  for (int64_t e = 0; bias && e < n; ++e)
    if (!(bias[e] - bias[e] == 0.0f)) return int32_t(e);
  return RouteFindings::kNothing;
}

void route_rows(const Route& k, int64_t begin, int64_t end, int64_t* bad) {
  const bool nowhere = k.found->bias_expert >= 0;
  for (int64_t t = begin; t < end; ++t) {
    float *scores = k.scores.row<float>(t), *weights = k.weights.row<float>(t);
    int32_t* experts = k.experts + t * k.top_k;
    if (!score_row(k, k.logits.row<float>(t), scores)) {
      int64_t seen = __atomic_load_n(bad, __ATOMIC_RELAXED);
      while ((seen < 0 || t < seen) &&
             !__atomic_compare_exchange_n(bad, &seen, t, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      }
      route_nowhere(k, experts, weights);
      continue;
    }
    if (nowhere) {
      route_nowhere(k, experts, weights);
      continue;
    }
    if (!k.forced) choose_experts(k, scores, experts);
    float sum = 0;
    for (int64_t s = 0; s < k.top_k; ++s) sum += scores[experts[s]];
    const float divisor = k.normalize ? sum + 1e-20f : 1.0f, scale = float(k.scale);
    for (int64_t s = 0; s < k.top_k; ++s) weights[s] = scores[experts[s]] / divisor * scale;
  }
}

// Over the chosen, S = their sum + 1e-20: d s_a = scale * (dw_a - sum_b dw_b s_b / S) / S, and what the balance loss
// adds; then d logit = d s * s (1 - s), or softmax's s (d s - sum_e d s_e s_e).
void route_backward_rows(const RouteBackward& k, int64_t begin, int64_t end) {
  const float scale = float(k.scale);
  for (int64_t t = begin; t < end; ++t) {
    const float *scores = k.scores.row<float>(t), *dweights = k.dweights.row<float>(t);
    const int32_t* experts = k.experts + t * k.top_k;
    float* d = k.dlogits.row<float>(t);
    if (k.dscores.data)
      __builtin_memmove(d, k.dscores.row<float>(t), size_t(k.n_experts) * sizeof(float));
    else
      __builtin_memset(d, 0, size_t(k.n_experts) * sizeof(float));
    float sum = 1e-20f, pull = 0;
    for (int64_t s = 0; s < k.top_k; ++s) sum += scores[experts[s]], pull += dweights[s] * scores[experts[s]];
    for (int64_t s = 0; s < k.top_k; ++s)
      d[experts[s]] += scale * (k.normalize ? (dweights[s] - pull / sum) / sum : dweights[s]);
    V shift = broadcast(1.0f);
    if (k.softmax) {
      const float mean = sum_vectors(
          k.n_experts, [&](V a, int64_t c, auto n) { return fma(load_lanes(d + c, n), load_lanes(scores + c, n), a); });
      shift = broadcast(mean);
    }
    each_vector(k.n_experts, [&](int64_t c, auto n) {
      const V s = load_lanes(scores + c, n), gradient = load_lanes(d + c, n);
      store_lanes(d + c, k.softmax ? mul(s, sub(gradient, shift)) : mul(gradient, mul(s, sub(shift, s))), n);
    });
  }
}

void count_choices(const BalanceCounts& k, int64_t q) {
  int64_t* chosen = k.chosen + q * k.n_experts;
  for (int64_t e = 0; e < k.n_experts; ++e) chosen[e] = 0;
  int64_t keys[kMaxExperts];
  for (int64_t t = k.begins[q]; t < k.begins[q] + k.counts[q]; ++t) {
    const float* scores = k.scores.row<float>(t);
    for (int64_t e = 0; e < k.n_experts; ++e) keys[e] = key_of(scores[e], e);
    for (int64_t s = 0; s < k.top_k; ++s) ++chosen[take_largest(keys, k.n_experts)];
  }
}

// One sequence of T tokens (§2.4): f_e = E / (k T) * the times e is among the best k unbiased scores, P_e = mean of
// s_e / sum_j s_j, loss = alpha * sum_e f_e P_e. The gradient runs through P alone: f is a count.
void balance_sequence(const BalanceLoss& k, int64_t q) {
  const int64_t begin = k.begins[q], count = k.counts[q], length = k.lengths[q], n_experts = k.n_experts;
  double *f = k.workspace + q * 2 * n_experts, *mean = f + n_experts;
  for (int64_t e = 0; e < n_experts; ++e) f[e] = double(k.chosen[q * n_experts + e]), mean[e] = 0;
  k.losses[q] = 0;
  if (count == 0) return;
  for (int64_t t = begin; t < begin + count; ++t) {
    const float* scores = k.scores.row<float>(t);
    const float total =
        sum_vectors(n_experts, [&](V a, int64_t c, auto n) { return add(a, load_lanes(scores + c, n)); });
    const float inverse = 1.0f / total;
    for (int64_t e = 0; e < n_experts; ++e) mean[e] += double(scores[e] * inverse);
  }
  float weight[kMaxExperts];
  for (int64_t e = 0; e < n_experts; ++e) {
    f[e] *= double(n_experts) / double(k.top_k * length), weight[e] = float(f[e]);
    k.losses[q] += k.alpha * f[e] * mean[e] / double(length);
  }
  if (!k.dscores.data) return;
  for (int64_t t = begin; t < begin + count; ++t) {
    const float* scores = k.scores.row<float>(t);
    float* d = k.dscores.row<float>(t);
    const float total =
        sum_vectors(n_experts, [&](V a, int64_t c, auto n) { return add(a, load_lanes(scores + c, n)); });
    const float pull = sum_vectors(n_experts, [&](V a, int64_t c, auto n) {
      return fma(load_lanes(weight + c, n), load_lanes(scores + c, n), a);
    });
    const V factor = broadcast(float(k.alpha / double(length)) / total), shift = broadcast(pull / total);
    each_vector(n_experts,
                [&](int64_t c, auto n) { store_lanes(d + c, mul(factor, sub(load_lanes(weight + c, n), shift)), n); });
  }
}

}  // namespace

void route(const Route& k) {
  int64_t bad = -1;
  *k.found = RouteFindings();
  k.found->bias_expert = first_not_finite(static_cast<const float*>(k.bias), k.n_experts);
  parallel_blocks(k.lane, k.tokens, 128, [&](int64_t begin, int64_t end) { route_rows(k, begin, end, &bad); });
  if (bad < 0) return;
  k.found->token = int32_t(bad);
  k.found->first_logit = k.logits.row<float>(bad)[0];
}

void route_backward(const RouteBackward& k) {
  parallel_blocks(k.lane, k.tokens, 128, [&](int64_t begin, int64_t end) { route_backward_rows(k, begin, end); });
}

void balance_counts(const BalanceCounts& k) {
  parallel_blocks(k.lane, k.n_sequences, 1, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) count_choices(k, q);
  });
}

void balance_loss(const BalanceLoss& k) {
  parallel_blocks(k.lane, k.n_sequences, 1, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) balance_sequence(k, q);
  });
}

}  // namespace hadal::kernels::HADAL_ISA
