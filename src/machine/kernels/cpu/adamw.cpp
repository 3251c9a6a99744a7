#include "kernels/adamw.h"

#include <math.h>
#include <type_traits>

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

struct NoCopy {};

// One pass over memory for everything that an element needs (§2.3): moments, weight, its copy of 16 bits (Value), the
// moving average. The moments are used before they are rounded for storage.
template <class M, class Value, bool kEma>
void update(const AdamW& k, int64_t begin, int64_t end) {
  float* w = static_cast<float*>(k.w) + begin;
  const float* grad = static_cast<const float*>(k.grad) + begin;
  M *m = static_cast<M*>(k.m) + begin, *v = static_cast<M*>(k.v) + begin;
  constexpr bool kValue = !std::is_same_v<Value, NoCopy>;
  [[maybe_unused]] Value* value = static_cast<Value*>(k.value);
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
    if constexpr (kValue) store_lanes(value + begin + i, updated, n);
    if constexpr (kEma) store_lanes(ema + i, fma(ema_decay, load_lanes(ema + i, n), mul(ema_rest, updated)), n);
  });
}

template <class M, class Value>
void update_copied(const AdamW& k, int64_t begin, int64_t end) {
  k.ema ? update<M, Value, true>(k, begin, end) : update<M, Value, false>(k, begin, end);
}
template <class M>
void update_any(const AdamW& k, int64_t begin, int64_t end) {
  if (!k.value)
    update_copied<M, NoCopy>(k, begin, end);
  else if (k.value_type == DType::f16)
    update_copied<M, f16>(k, begin, end);
  else
    update_copied<M, bf16>(k, begin, end);
}

}  // namespace

void adamw(const AdamW& k) {
  visit_with<bf16>(
      [&](auto moment) {
        parallel_blocks(k.lane, k.count, 16384,
                        [&](int64_t begin, int64_t end) { update_any<element<decltype(moment)>>(k, begin, end); });
      },
      k.moment);
}

}  // namespace hadal::kernels::HADAL_ISA
