// Products of codes as Hopper's tensor cores sum them.
#include "kernels/tensor_core_product.h"

namespace hadal::kernels::reference {

void tensor_core_gemm(const TensorCoreGemm& args) { tensor_core::multiply(args); }

}  // namespace hadal::kernels::reference
