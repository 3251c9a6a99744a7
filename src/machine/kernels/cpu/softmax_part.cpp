#include "kernels/softmax_part.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

HADAL_INLINE float largest(const float* x, int64_t count) {
  const V lowest = broadcast(-__builtin_inff());
  const auto larger = [](V a, V b) { return max(a, b); };
  return reduce_max(fold_vectors(
      count, lowest, [&](V a, int64_t c, auto n) { return max(a, keep_lanes(load_lanes(x + c, n), lowest, n)); },
      larger));
}

void statistics_of_row(const SoftmaxStatistics& k, int64_t r) {
  float* x = k.logits.row<float>(r);
  float* to = static_cast<float*>(k.statistics) + 4 * r;
  const int64_t target = k.targets[r];
  const float top = largest(x, k.cols), chosen = target < 0 ? 0.0f : x[target];
  const V shift = broadcast(top);
  to[1] = sum_vectors(k.cols, [&](V a, int64_t c, auto n) {
    const V e = keep_lanes(exp(sub(load_lanes(x + c, n), shift)), zero(), n);
    if (k.keep) store_lanes(x + c, e, n);
    return add(a, e);
  });
  to[0] = top, to[2] = chosen, to[3] = target < 0 ? 0.0f : 1.0f;
}

void gradient_of_row(const SoftmaxGradient& k, int64_t r) {
  float* x = k.logits.row<float>(r);
  const float* factors = static_cast<const float*>(k.factors) + 2 * r;
  if (factors[0] == 0) {
    __builtin_memset(x, 0, size_t(k.cols) * sizeof(float));
    return;
  }
  const V factor = broadcast(factors[0]);
  each_vector(k.cols, [&](int64_t c, auto n) { store_lanes(x + c, mul(load_lanes(x + c, n), factor), n); });
  if (k.targets[r] >= 0) x[k.targets[r]] = factors[1];
}

}  // namespace

void softmax_statistics(const SoftmaxStatistics& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) { statistics_of_row(k, r); });
}

void softmax_gradient(const SoftmaxGradient& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) { gradient_of_row(k, r); });
}

}  // namespace hadal::kernels::HADAL_ISA
