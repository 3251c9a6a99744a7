#include "nn/norm.h"

#include "ops/pointwise.h"

namespace hadal {

void Norm::forward(const Exec& exec, const Tensor& y, const Tensor& x, Saved& saved) const {
  if (!saved.rstd) saved.rstd = Tensor::empty(exec, statistics_dtype(x.dtype()), {x.rows()});
  saved.x = x;
  ops::rms_norm(exec, y, saved.rstd, x, weight->value.plain, eps);
}

Tensor Norm::forward(const Exec& exec, const Tensor& x, Saved& saved) const {
  const Tensor y = Tensor::empty(exec, x.dtype(), {x.rows(), x.cols()});
  forward(exec, y, x, saved);
  return y;
}

void Norm::backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, Saved& saved, bool add) const {
  ops::rms_norm_backward_input(exec, dx, dy, saved.x, weight->value.plain, saved.rstd, add);
  saved.dy = dy;
}

void Norm::backward_weight(const Exec& exec, Saved& saved) const {
  weight->contribute([&](const Tensor& grad, ops::Write write) {
    ops::rms_norm_backward_weight(exec, grad, saved.dy, saved.x, saved.rstd, write);
  });
  saved = Saved();
}

}  // namespace hadal
