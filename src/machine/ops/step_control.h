// AdamW on a device whose factor of gradients is made there: clip and skip of a step without asking the host.
#pragma once
#include "ops/pointwise.h"

namespace hadal::ops {

// What the updates of one step share (kernels/adamw.h, UpdateControl).
struct StepControl {
  Tensor values;   // F64 [2], of the device
  Tensor squares;  // exact_sums() of all gradients, of which `values` is made before this update; empty: it was
  double clip = 0, loss_scale = 1;
};

// args.grad_scale says nothing. Throws internal where there is no device.
void adamw(const Exec& exec, const AdamWArgs& args, const StepControl& control);

}  // namespace hadal::ops
