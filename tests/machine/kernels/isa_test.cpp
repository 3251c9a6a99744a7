// The instruction sets that the program offers are those that kernels were compiled for.
#include "base/isa.h"

#include <gtest/gtest.h>

#include "kernels/dispatch.h"

namespace hadal {
namespace {

TEST(Isa, IsOfferedOnlyWhereItsKernelsWereCompiled) {
#if defined(HADAL_HAVE_avx2)
  __builtin_cpu_init();
  EXPECT_EQ(isa_available(Isa::avx2), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
#else  // whatever the CPU can do: a plan made for its vectors would be carried out by the reference
  EXPECT_EQ(available_isas(), std::vector<Isa>{Isa::reference});
  EXPECT_EQ(best_isa(), Isa::reference);
#endif
}

}  // namespace
}  // namespace hadal
