// Checks of the weighted SwiGLU backward, and its kernel.
#include "kernels/swiglu_weighted.h"

#include "ops/kernel_rows.h"
#include "ops/pointwise.h"

namespace hadal::ops {

using namespace hadal::kernels;

void swiglu_weighted_backward(const Exec& exec, const SwigluWeightedArgs& a) {
  SwigluWeighted args{.dh = kernel_rows(a.dh, "swiglu_weighted dh"),
                      .g = kernel_rows(a.g, "swiglu_weighted g"),
                      .u = kernel_rows(a.u, "swiglu_weighted u"),
                      .rows = a.dh.rows(),
                      .cols = a.dh.cols(),
                      .lane = exec.compute};
  const bool f64 = args.g.dtype == DType::f64;
  check(a.g.dtype() == a.u.dtype() && a.g.dtype() == a.dh.dtype(), ErrorKind::invalid,
        "swiglu_weighted: g is {}, u {}, dh {}; expected one dtype", dtype_name(a.g.dtype()), dtype_name(a.u.dtype()),
        dtype_name(a.dh.dtype()));
  check_shape(a.g, args.rows, args.cols, "swiglu_weighted g");
  check_shape(a.u, args.rows, args.cols, "swiglu_weighted u");
  if (a.weights) {
    const int64_t tokens = a.weights.rows(), top_k = a.weights.cols();
    args.weights = kernel_rows(a.weights, "swiglu_weighted weights");
    args.dweights = kernel_rows(a.dweights, "swiglu_weighted dweights");
    check_shape(a.dweights, tokens, top_k, "swiglu_weighted dweights");
    const DType wide = f64 ? DType::f64 : DType::f32;
    check(a.weights.dtype() == wide && a.dweights.dtype() == wide, ErrorKind::invalid,
          "swiglu_weighted: weights are {} and dweights {}, expected {}", dtype_name(a.weights.dtype()),
          dtype_name(a.dweights.dtype()), dtype_name(wide));
    check(int64_t(a.token.size()) == args.rows && int64_t(a.slot.size()) == args.rows, ErrorKind::invalid,
          "swiglu_weighted: {} tokens and {} slots for {} rows", a.token.size(), a.slot.size(), args.rows);
    check_ids(a.token.data(), args.rows, 0, tokens, "swiglu_weighted: token of row");
    check_ids(a.slot.data(), args.rows, 0, top_k, "swiglu_weighted: slot of row");
    args.token = a.token.data();
    args.slot = a.slot.data();
  }
  kernels::swiglu_weighted_backward(twin(exec, f64), args);
}

}  // namespace hadal::ops
