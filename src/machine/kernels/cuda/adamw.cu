// AdamW, a thread per element. What every element shares is computed once, on the host; but for the factor of gradients
// and whether there is an update at all, which may come from sums of squares that the host has not seen.
#include "kernels/adamw.h"

#include <cmath>

#include "base/exact_sum.h"

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
__global__ void __launch_bounds__(kBlock) adamw_elements(State<M> s, Numbers n, const double* control, int64_t count) {
  if (control != nullptr && control[1] != 0) return;
  const float grad_scale = control != nullptr ? float(control[0]) : n.grad_scale;
  each_element(1, count, [&](int64_t, int64_t i) {
    const float g = s.grad[i] * grad_scale;
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

constexpr int kLimbs = ExactSum::kLimbs;

struct Total {
  int64_t limbs[kLimbs];
  double not_finite;
};

__device__ inline double power(int exponent) { return double_of(uint64_t(exponent + 1023) << 52); }  // of 2, normal

// As ExactSum::value() of a sum that is not negative; carries its limbs.
__device__ double value_of(Total& total) {
  if (total.not_finite != 0) return total.not_finite;  // NaN is not 0 either
  for (int i = 0; i + 1 < kLimbs; ++i) {
    const int64_t carry = total.limbs[i] >> 32;
    total.limbs[i] -= carry * (int64_t(1) << 32);
    total.limbs[i + 1] += carry;
  }
  int top = kLimbs - 1;
  while (top > 0 && total.limbs[top] == 0) --top;
  const int last = top >= 2 ? top - 2 : 0;
  unsigned __int128 head = 0;
  for (int i = top; i >= last; --i) head = head << 32 | uint64_t(total.limbs[i]);
  bool sticky = false;
  for (int i = 0; i < last; ++i) sticky = sticky || total.limbs[i] != 0;
  int drop = 0;
  while (uint64_t(head >> 64) >> drop != 0) ++drop;
  uint64_t kept = uint64_t(head >> drop);
  sticky = sticky || (head & ((static_cast<unsigned __int128>(1) << drop) - 1)) != 0;
  if (sticky && drop + 32 * last > 0) kept |= 1;
  const int exponent = 32 * last + drop - 1074;  // in two halves, each of which is a normal number
  return double(kept) * power(exponent / 2) * power(exponent - exponent / 2);
}

// One block: the total of n sums, limb by limb, and what follows from it.
__global__ void __launch_bounds__(kBlock)
    make_control(double* control, const int64_t* sums, int64_t n, double clip, double loss_scale) {
  Total& total = shared<Total>();
  const int limb = thread_index();
  if (limb < kLimbs) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += sums[i * (kLimbs + 1) + limb];
    total.limbs[limb] = sum;
  } else if (limb == kLimbs) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += double_of(uint64_t(sums[i * (kLimbs + 1) + limb]));
    total.not_finite = sum;
  }
  block_barrier();
  if (limb != 0) return;
  const double norm = sqrt(value_of(total)) / loss_scale;
  control[0] = (clip > 0 && norm > clip ? clip / norm : 1.0) / loss_scale;
  control[1] = norm - norm == 0 ? 0 : 1;
}

}  // namespace

void adamw(DeviceStream stream, const AdamW& k) {
  check(k.dtype == DType::f32, ErrorKind::unsupported, "kernel 'adamw' takes F32 on a GPU, not {}",
        dtype_name(k.dtype));
  check(!k.value || k.value_type == DType::bf16, ErrorKind::unsupported,
        "kernel 'adamw' writes weights in BF16 on a GPU, not {}", dtype_name(k.value_type));
  const UpdateControl& control = k.control;
  if (control.squares != nullptr) {
    static_assert(sizeof(ExactSum) == (kLimbs + 1) * 8, "limbs, then what is not finite");
    launch(make_control, {.name = "adamw's control", .shared_bytes = sizeof(Total), .stream = stream}, control.values,
           static_cast<const int64_t*>(control.squares), control.n, control.clip, control.loss_scale);
  }
  visit(
      "adamw",
      [&](auto moment) {
        using M = element<decltype(moment)>;
        const State<M> state{static_cast<float*>(k.w), static_cast<const float*>(k.grad), static_cast<M*>(k.m),
                             static_cast<M*>(k.v),     static_cast<bf16*>(k.value),       static_cast<float*>(k.ema)};
        launch(adamw_elements<M>, over_elements("adamw", 1, k.count, stream), state, numbers_of(k),
               static_cast<const double*>(control.values), k.count);
      },
      k.moment);
}

}  // namespace hadal::kernels::cuda
