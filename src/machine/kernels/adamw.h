// AdamW in one pass (decoupled decay): g = grad * grad_scale; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// w -= lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * w). Moments stored as bf16 are rounded to nearest
// even after use: the step itself uses the unrounded ones.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

// What the updates of a step share on a device, made there: so the host queues them before it has read the norm.
struct UpdateControl {
  // F64 [2], or null: the factor of gradients, min(1, clip / norm) / loss_scale (clip 0: 1 / loss_scale), instead of
  // grad_scale; and not 0 where nothing may be updated, as some gradient is not finite.
  double* values = nullptr;
  const void* squares = nullptr;  // [n] ExactSum of which they are made before this update; null: they were
  int64_t n = 0;
  double clip = 0, loss_scale = 1;
};

struct AdamW {
  void* w = nullptr;           // f32 (f64), [count]
  const void* grad = nullptr;  // like w
  void *m = nullptr, *v = nullptr;
  DType dtype = DType::f32;   // of w and grad: f32 or f64
  DType moment = DType::f32;  // of m and v: f32, bf16 (f64 with f64)
  void* value = nullptr;      // compute copy, or null
  DType value_type = DType::bf16;
  void* ema = nullptr;  // like w, or null: ema = ema_decay * ema + (1 - ema_decay) * w
  int64_t count = 0, step = 1;
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0, grad_scale = 1, ema_decay = 0;
  Lane* lane = nullptr;
  UpdateControl control;  // of devices alone
};

HADAL_DECLARE_KERNEL(adamw, AdamW)

}  // namespace hadal::kernels
