// Norm: RMSNorm over the last dimension, y = x * rstd * w (§1.2). x and y [rows, n], maybe column views; rstd [rows].
// Saved keeps x and rstd for backward_input, and the output's gradient for backward_weight.
#pragma once
#include "nn/parameter.h"

namespace hadal {

// Statistics of activations of this dtype: f64 for f64, else f32.
inline DType statistics_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

struct Norm {
  Parameter* weight = nullptr;
  double eps = 1e-6;

  struct Saved {
    Tensor x, rstd;
    Tensor dy;  // from backward_input to backward_weight
  };

  void forward(const Exec& exec, const Tensor& y, const Tensor& x, Saved& saved) const;
  Tensor forward(const Exec& exec, const Tensor& x, Saved& saved) const;  // y new, in x's dtype
  // dx (+)= gradient; keeps dy
  void backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, Saved& saved, bool add) const;
  void backward_weight(const Exec& exec, Saved& saved) const;  // empties saved
};

}  // namespace hadal
