#include "kernels/gemm.h"
namespace hadal::kernels::reference { void gemm(const Gemm& args); }
namespace hadal::kernels::HADAL_ISA {
void gemm(const Gemm& args) { reference::gemm(args); }
}
