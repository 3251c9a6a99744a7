// Objects with instruction-set flags keep to their namespace (kernels/dispatch.h says why).
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/isa.h"

namespace hadal {
namespace {

int check_symbols(const std::string& objects, const char* isa, const char* output = "1>&2") {
  const std::string command = "sh '" HADAL_SOURCE_DIR "/tools/check_isa_symbols.sh' '" HADAL_BINARY_DIR "/CMakeFiles/" +
                              objects + "' " + isa + " " + output;
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(IsaSymbols, StayInTheNamespaceOfTheirInstructionSet) {
#if !defined(HADAL_HAVE_avx2)
  GTEST_SKIP() << "no vector kernels for this architecture";
#endif
  for (const char* isa : {"avx2", "avx512", "avx512_vnni", "avx512_bf16"}) {
    EXPECT_EQ(check_symbols(std::string("hadal_kernels_") + isa + ".dir", isa), 0) << isa;
  }
}

TEST(IsaSymbols, AreFoundWhereOrdinaryObjectsDefineThem) {  // negative control: ordinary objects are full of them
  EXPECT_EQ(check_symbols("hadal_kernels.dir", "avx2", ">/dev/null 2>&1"), 1);
}

// How many symbols of a library of the build speak of CUDA.
int64_t cuda_symbols(const std::string& library) {
  const std::string count = "nm -C '" HADAL_BINARY_DIR "/" + library + "' 2>/dev/null | grep -ci cuda";
  FILE* pipe = popen(count.c_str(), "r");
  char text[32] = "-1";
  if (pipe == nullptr || std::fgets(text, sizeof(text), pipe) == nullptr) return -1;
  pclose(pipe);
  return std::atoll(text);
}

TEST(CudaSymbols, AreNotInAProgramThatKnowsNoDevice) {
  EXPECT_EQ(cuda_symbols("libhadal_kernels.a"), 0);
  EXPECT_EQ(cuda_symbols("libhadal_base.a"), 0);
#if defined(HADAL_CUDA_EMULATED)  // negative control: they are seen where they are
  EXPECT_GT(cuda_symbols("tests/libcuda_emulated.a"), 0);
#endif
}

}  // namespace
}  // namespace hadal
