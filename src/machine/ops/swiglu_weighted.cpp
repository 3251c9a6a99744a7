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
  if (a.weight) {
    args.weight = wide_vector(a.weight, args.rows, f64, "swiglu_weighted weight");
    args.dweight = wide_vector(a.dweight, args.rows, f64, "swiglu_weighted dweight");
  }
  kernels::swiglu_weighted_backward(twin(exec, f64), args);
}

}  // namespace hadal::ops
