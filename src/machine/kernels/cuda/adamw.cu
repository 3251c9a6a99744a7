// AdamW, a thread per element. What every element shares is computed once, on the host.
#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

struct Numbers {
  float beta1, rest1, beta2, rest2, correct1, correct2, eps, decay, lr, grad_scale, ema_decay, ema_rest;
};

Numbers numbers_of(const AdamW& k) {
  return {.beta1 = float(k.beta1),
          .rest1 = float(1 - k.beta1),
          .beta2 = float(k.beta2),
          .rest2 = float(1 - k.beta2),
          .correct1 = float(1.0 / (1.0 - std::pow(k.beta1, double(k.step)))),
          .correct2 = float(1.0 / (1.0 - std::pow(k.beta2, double(k.step)))),
          .eps = float(k.eps),
          .decay = float(k.weight_decay),
          .lr = float(k.lr),
          .grad_scale = float(k.grad_scale),
          .ema_decay = float(k.ema_decay),
          .ema_rest = float(1 - k.ema_decay)};
}

template <class M>
struct State {
  float* w;
  const float* grad;
  M *m, *v;
  bf16* value;
  float* ema;
};

template <class M>
__global__ void __launch_bounds__(kBlock) adamw_elements(State<M> s, Numbers n, int64_t count) {
  each_element(1, count, [&](int64_t, int64_t i) {
    const float g = s.grad[i] * n.grad_scale;
    const float first = fused(n.beta1, value_of(s.m[i]), n.rest1 * g);
    const float second = fused(n.beta2, value_of(s.v[i]), n.rest2 * g * g);
    put(s.m + i, first);
    put(s.v + i, second);
    const float old = s.w[i], ratio = first * n.correct1 / (square_root(second * n.correct2) + n.eps);
    const float updated = fused(-n.lr, fused(n.decay, old, ratio), old);
    s.w[i] = updated;
    if (s.value) put(s.value + i, updated);
    if (s.ema) s.ema[i] = fused(n.ema_decay, s.ema[i], n.ema_rest * updated);
  });
}

}  // namespace

void adamw(DeviceStream stream, const AdamW& k) {
  check(k.dtype == DType::f32, ErrorKind::unsupported, "kernel 'adamw' takes F32 on a GPU, not {}",
        dtype_name(k.dtype));
  check(!k.value || k.value_type == DType::bf16, ErrorKind::unsupported,
        "kernel 'adamw' writes weights in BF16 on a GPU, not {}", dtype_name(k.value_type));
  visit(
      "adamw",
      [&](auto moment) {
        using M = element<decltype(moment)>;
        const State<M> state{static_cast<float*>(k.w), static_cast<const float*>(k.grad), static_cast<M*>(k.m),
                             static_cast<M*>(k.v),     static_cast<bf16*>(k.value),       static_cast<float*>(k.ema)};
        launch(adamw_elements<M>, over_elements("adamw", 1, k.count, stream), state, numbers_of(k), k.count);
      },
      k.moment);
}

}  // namespace hadal::kernels::cuda
