#include "kernels/adamw.h"

#include <math.h>

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// One pass over memory for everything that an element needs (§2.3): moments, weight, its bf16 copy, the moving average.
// The moments are used before they are rounded for storage.
template <class M, bool kValue, bool kEma>
void update(const AdamW& k, int64_t begin, int64_t end) {
  float* w = static_cast<float*>(k.w) + begin;
  const float* grad = static_cast<const float*>(k.grad) + begin;
  M *m = static_cast<M*>(k.m) + begin, *v = static_cast<M*>(k.v) + begin;
  bf16* value = kValue ? k.value + begin : nullptr;
  float* ema = kEma ? static_cast<float*>(k.ema) + begin : nullptr;
  const V beta1 = broadcast(float(k.beta1)), rest1 = broadcast(float(1 - k.beta1));
  const V beta2 = broadcast(float(k.beta2)), rest2 = broadcast(float(1 - k.beta2));
  const V correct1 = broadcast(float(1.0 / (1.0 - ::pow(k.beta1, double(k.step)))));
  const V correct2 = broadcast(float(1.0 / (1.0 - ::pow(k.beta2, double(k.step)))));
  const V eps = broadcast(float(k.eps)), decay = broadcast(float(k.weight_decay)), lr = broadcast(float(k.lr));
  const V grad_scale = broadcast(float(k.grad_scale));
  const V ema_decay = broadcast(float(k.ema_decay)), ema_rest = broadcast(float(1 - k.ema_decay));
  each_vector(end - begin, [&](int64_t i, auto n) {
    const V g = mul(load_lanes(grad + i, n), grad_scale);
    const V first_moment = fma(beta1, load_lanes(m + i, n), mul(rest1, g));
    const V second_moment = fma(beta2, load_lanes(v + i, n), mul(mul(rest2, g), g));
    store_lanes(m + i, first_moment, n);
    store_lanes(v + i, second_moment, n);
    const V old = load_lanes(w + i, n);
    const V ratio = div(mul(first_moment, correct1), add(sqrt(mul(second_moment, correct2)), eps));
    const V updated = nfma(lr, fma(decay, old, ratio), old);
    store_lanes(w + i, updated, n);
    if constexpr (kValue) store_lanes(value + i, updated, n);
    if constexpr (kEma) store_lanes(ema + i, fma(ema_decay, load_lanes(ema + i, n), mul(ema_rest, updated)), n);
  });
}

template <class M>
void update_any(const AdamW& k, int64_t begin, int64_t end) {
  if (k.value && k.ema)
    update<M, true, true>(k, begin, end);
  else if (k.value)
    update<M, true, false>(k, begin, end);
  else if (k.ema)
    update<M, false, true>(k, begin, end);
  else
    update<M, false, false>(k, begin, end);
}

}  // namespace

void adamw(const AdamW& k) {
  visit_small(
      [&](auto moment) {
        parallel_blocks(k.lane, k.count, 16384,
                        [&](int64_t begin, int64_t end) { update_any<element<decltype(moment)>>(k, begin, end); });
      },
      k.moment);
}

}  // namespace hadal::kernels::HADAL_ISA
