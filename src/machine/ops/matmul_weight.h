// Products that read a Weight (tensor/weight.h): each takes the form that suits its other operand. Codes meet codes,
// summed as is said, or in tiles of a row packed ones, with the same bits (but of a block with a NaN: all is one);
// otherwise panels where they are kept (forward products), else the plain form, else the values of the codes. Shapes
// and sums are those of ops/matmul.h.
#pragma once
#include "ops/matmul.h"
#include "tensor/weight.h"

namespace hadal::ops {

void linear(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, Write write = Write::overwrite,
            Accumulation accumulation = Accumulation::fp32);
void linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Weight& w,
                           Write write = Write::overwrite, Accumulation accumulation = Accumulation::fp32);
void grouped_linear(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, const Tensor& offsets,
                    Write write = Write::overwrite, Accumulation accumulation = Accumulation::fp32);
void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Weight& w,
                                   const Tensor& offsets, Write write = Write::overwrite,
                                   Accumulation accumulation = Accumulation::fp32);

// The values as one tensor, of which head_matmul takes views: the plain form itself, or made from the codes.
Tensor values_of(const Exec& exec, const Weight& w);

}  // namespace hadal::ops
