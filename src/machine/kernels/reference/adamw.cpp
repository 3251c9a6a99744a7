#include "kernels/adamw.h"

#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

// Moments of the clipped gradient, both corrected for having begun at 0; a step of lr * m / (sqrt(v) + eps). Decay
// pulls at the weight itself and does not pass through the moments ("decoupled", §2.3). Elements are independent: any
// range will do.
template <class A, class M>
void update(const AdamW& k, int64_t begin, int64_t end) {
  A* w = static_cast<A*>(k.w);
  A* ema = static_cast<A*>(k.ema);
  const A* grad = static_cast<const A*>(k.grad);
  M *m = static_cast<M*>(k.m), *v = static_cast<M*>(k.v);
  const A correct_m = A(1.0 / (1.0 - std::pow(k.beta1, double(k.step))));
  const A correct_v = A(1.0 / (1.0 - std::pow(k.beta2, double(k.step))));
  for (int64_t i = begin; i < end; ++i) {
    const A g = grad[i] * A(k.grad_scale);
    const A first = A(k.beta1) * get(m[i]) + A(1 - k.beta1) * g;
    const A second = A(k.beta2) * get(v[i]) + A(1 - k.beta2) * g * g;
    m[i] = M(first);
    v[i] = M(second);
    const A direction = first * correct_m / (std::sqrt(second * correct_v) + A(k.eps)) + A(k.weight_decay) * w[i];
    w[i] -= A(k.lr) * direction;
    if (k.value && k.value_type == DType::f16)
      static_cast<f16*>(k.value)[i] = f16(float(w[i]));
    else if (k.value)
      static_cast<bf16*>(k.value)[i] = bf16(float(w[i]));
    if (ema) ema[i] = A(k.ema_decay) * ema[i] + A(1 - k.ema_decay) * w[i];
  }
}

}  // namespace

void adamw(const AdamW& k) {
  parallel_blocks(k.lane, k.count, 16384, [&](int64_t begin, int64_t end) {
    if (k.dtype == DType::f64)
      update<double, double>(k, begin, end);
    else if (k.moment == DType::bf16)
      update<float, bf16>(k, begin, end);
    else
      update<float, float>(k, begin, end);
  });
}

}  // namespace hadal::kernels::reference
