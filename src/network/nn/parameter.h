// Parameter: one weight (or the stacked weights of all experts of a layer) with what everything else needs to know of
// it. Optimizer, checkpoint, gradient norm and layouts read this descriptor and nothing else of the model.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "arch/parameter_list.h"
#include "tensor/tensor.h"

namespace hadal {

struct Parameter {
  ParameterSpec spec;  // names, global shape, kind, initialiser (arch/parameter_list.h)
  Tensor value;        // what the kernels read: f64, f32 or bf16 (f32 for specs kept in high precision)
  Tensor master;       // f32 (f64): what the optimizer updates; the same memory as value when the dtypes agree
  Tensor grad;         // f32 (f64), accumulated by backward_weight; empty when not training
};

using Parameters = std::vector<Parameter*>;  // in the order of the list in arch

}  // namespace hadal
