// Codes of a rank's part of a matrix (tensor/cut_matrix.h): those of the whole matrix, to the bit, also in tiles of
// which some lie on other ranks.
#pragma once
#include "tensor/quantised.h"

namespace hadal {

// quantise() of the part here; `to` begins where it does (origin_of). Where tiles lie on several parts, all holders
// call it, and wait for each other. Null: a whole matrix. Throws unsupported where such tiles lie on a device.
void quantise(const Exec& exec, const Quantised& to, const Tensor& from, AmaxFloor floor, const CutMatrix* cut);

}  // namespace hadal
