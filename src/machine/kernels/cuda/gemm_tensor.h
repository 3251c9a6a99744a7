// Products of BF16 on tensor cores: which of a call's go there, and their launch (gemm.cu asks).
//
// Bits: an element's chunk of 128 k is summed from zero inside the accumulators, 16 k to an instruction, as
// kernels/tensor_core.h says; chunks are added in order in FP32 as kernels/gemm.h says. Where k ends inside an
// instruction, zeros follow. What decides is formats, strides and alignment, never m nor contents: so a row has the
// same bits in any batch and group.
#pragma once
#include "kernels/gemm.h"

namespace hadal::kernels::cuda {

bool fits_tensor_cores(const Gemm& call, const GemmProduct& product);

// Launches what fits: the one product of a call with groups, or the first of a call's products that are alike, equally
// spaced and follow `first`. Returns how many.
int64_t launch_on_tensor_cores(DeviceStream stream, const Gemm& call, int64_t first);

}  // namespace hadal::kernels::cuda
