// The part of a whole tensor that a box says (arch/box.h): what a rank loads, or gives back.
#pragma once
#include "arch/box.h"
#include "tensor/tensor.h"

namespace hadal {

// A view as [rows, columns] (of a vector: [n]). Boxes may be cut along the first and the last dimension.
Tensor part_of(const Tensor& whole, const Box& box);

}  // namespace hadal
