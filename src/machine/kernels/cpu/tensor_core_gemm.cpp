// The same, by vectors: shifts by a number for each lane are one instruction.
#include "kernels/tensor_core_product.h"

namespace hadal::kernels::HADAL_ISA {

void tensor_core_gemm(const TensorCoreGemm& args) { tensor_core::multiply(args); }

}  // namespace hadal::kernels::HADAL_ISA
