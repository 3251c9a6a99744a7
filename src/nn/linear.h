// Linear: y = x W^T with W [out, in], no bias. x [rows, in], y [rows, out]; both may be column views.
// Three calls as of every layer: forward, backward_input (never touches a gradient), backward_weight (later, once).
#pragma once
#include "nn/parameter.h"
#include "ops/matmul.h"

namespace hadal {

struct Linear {
  Parameter* weight = nullptr;

  int64_t out_features() const { return weight->value.dim(0); }
  int64_t in_features() const { return weight->value.dim(1); }
  void forward(const Exec& exec, const Tensor& y, const Tensor& x, ops::Write write = ops::Write::overwrite) const {
    ops::linear(exec, y, x, weight->value, write);
  }
  void backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy,
                      ops::Write write = ops::Write::overwrite) const {
    ops::linear_backward_input(exec, dx, dy, weight->value, write);
  }
  void backward_weight(const Exec& exec, const Tensor& dy, const Tensor& x) const {
    ops::linear_backward_weight(exec, weight->grad, dy, x);
  }
};

}  // namespace hadal
