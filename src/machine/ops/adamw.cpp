// AdamW: checks, and the call of the kernel; what a step shares on a device beside it (step_control.h).
#include "kernels/adamw.h"

#include "ops/kernel_rows.h"
#include "ops/step_control.h"

namespace hadal::ops {

using namespace hadal::kernels;

namespace {

// A tensor of AdamW: as many contiguous elements as the weight.
void* adam_operand(const Tensor& tensor, int64_t count, const char* what) {
  check(tensor.count() == count && tensor.contiguous(), ErrorKind::invalid,
        "adamw: {} is {}, expected {} contiguous elements", what, shape_text(tensor.shape()), count);
  return tensor.raw();
}

void update(const Exec& exec, const AdamWArgs& a, const UpdateControl& control) {
  const int64_t count = a.w.count();
  const DType dtype = kernel_rows(a.w, "adamw w").dtype, moment = kernel_rows(a.m, "adamw m").dtype;
  check(!is_half(dtype), ErrorKind::invalid, "adamw: the master weight is {}, expected F32", dtype_name(dtype));
  check(a.grad.dtype() == a.w.dtype(), ErrorKind::invalid, "adamw: grad is {}, the master weight {}",
        dtype_name(a.grad.dtype()), dtype_name(a.w.dtype()));
  check(a.m.dtype() == a.v.dtype() && moment != DType::f16 && (dtype == DType::f64) == (moment == DType::f64),
        ErrorKind::invalid, "adamw: moments are {} and {} beside a weight of {}", dtype_name(a.m.dtype()),
        dtype_name(a.v.dtype()), dtype_name(a.w.dtype()));
  check(!a.value || is_half(a.value.dtype()), ErrorKind::invalid,
        "adamw: the compute copy is {}, expected BF16, F16 or none", dtype_name(a.value.dtype()));
  check(!a.ema || a.ema.dtype() == a.w.dtype(), ErrorKind::invalid, "adamw: the average is {}, expected {}",
        dtype_name(a.ema.dtype()), dtype_name(a.w.dtype()));
  check(a.step >= 1, ErrorKind::invalid, "adamw: step is {}, the first step is 1", a.step);
  const AdamW args{.w = adam_operand(a.w, count, "w"),
                   .grad = adam_operand(a.grad, count, "grad"),
                   .m = adam_operand(a.m, count, "m"),
                   .v = adam_operand(a.v, count, "v"),
                   .dtype = dtype,
                   .moment = moment,
                   .value = a.value ? adam_operand(a.value, count, "value") : nullptr,
                   .value_type = a.value ? a.value.dtype() : DType::bf16,
                   .ema = a.ema ? adam_operand(a.ema, count, "ema") : nullptr,
                   .count = count,
                   .step = a.step,
                   .lr = a.lr,
                   .beta1 = a.beta1,
                   .beta2 = a.beta2,
                   .eps = a.eps,
                   .weight_decay = a.weight_decay,
                   .grad_scale = a.grad_scale,
                   .ema_decay = a.ema_decay,
                   .lane = exec.compute,
                   .control = control};
  kernels::adamw(twin(exec, dtype == DType::f64), args);
}

}  // namespace

void adamw(const Exec& exec, const AdamWArgs& args) { update(exec, args, {}); }

void adamw(const Exec& exec, const AdamWArgs& args, const StepControl& of) {
  check(exec.memory->device() != nullptr && !of.values.on_host() && of.values.count() == 2, ErrorKind::internal,
        "adamw: what a step shares lies on no device");
  UpdateControl control{.values = of.values.address<double>(), .clip = of.clip, .loss_scale = of.loss_scale};
  if (of.squares) control.squares = of.squares.address<int64_t>(), control.n = of.squares.rows();
  update(exec, args, control);
}

}  // namespace hadal::ops
