#include "kernels/cross_entropy.h"

#include <math.h>

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class X>
HADAL_INLINE float largest(const X* x, int64_t count) {
  const V lowest = broadcast(-__builtin_inff());
  const auto larger = [](V a, V b) { return max(a, b); };
  return reduce_max(fold_vectors(
      count, lowest, [&](V a, int64_t c, auto n) { return max(a, keep_lanes(load_lanes(x + c, n), lowest, n)); },
      larger));
}

// Sum of exp(x - top). f32 rows that get a gradient keep the exponentials, so that each is computed once.
template <bool kKeep, class X>
HADAL_INLINE float sum_of_exponentials(X* x, int64_t count, float top) {
  const V shift = broadcast(top);
  return sum_vectors(count, [&](V a, int64_t c, auto n) {
    const V e = keep_lanes(exp(sub(load_lanes(x + c, n), shift)), zero(), n);
    if constexpr (kKeep) store_lanes(x + c, e, n);
    return add(a, e);
  });
}

// loss = log sum_c exp(x_c) - x_target; x := (softmax(x) - onehot) * scale (§2.4). The exponentials of the sum are left
// in the row (f32) and only scaled afterwards, so each is computed once; the target's element is written apart, at the
// end.
template <class X>
void loss_rows(const CrossEntropy& k, int64_t begin, int64_t end) {
  constexpr bool kKeep = sizeof(X) == sizeof(float);
  for (int64_t r = begin; r < end; ++r) {
    X* x = k.logits.row<X>(r);
    float& loss = static_cast<float*>(k.loss)[r];
    const int64_t target = k.targets[r];
    if (target < 0) {
      loss = 0;
      if (k.gradient) __builtin_memset(x, 0, size_t(k.vocab) * sizeof(X));
      continue;
    }
    const float top = largest(x, k.vocab), chosen = to_float(x[target]), scale = float(k.scale);
    if (!k.gradient) {
      loss = top - chosen + log_scalar(sum_of_exponentials<false>(x, k.vocab, top));
      continue;
    }
    const float sum = sum_of_exponentials<kKeep>(x, k.vocab, top);
    loss = top - chosen + log_scalar(sum);
    const float target_gradient = (exp_scalar(chosen - top) / sum - 1.0f) * scale;
    const V shift = broadcast(top), factor = broadcast(scale / sum);
    each_vector(k.vocab, [&](int64_t c, auto n) {
      const V value = load_lanes(x + c, n);
      if constexpr (kKeep)
        store_lanes(x + c, mul(value, factor), n);
      else
        store_lanes(x + c, mul(exp(sub(value, shift)), factor), n);
    });
    store_scalar(x + target, target_gradient);
  }
}

}  // namespace

void cross_entropy(const CrossEntropy& k) {
  visit_small(
      [&](auto x) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.vocab),
                        [&](int64_t begin, int64_t end) { loss_rows<element<decltype(x)>>(k, begin, end); });
      },
      k.logits.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
