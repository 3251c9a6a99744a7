// The proof of layouts as a user runs it: forty drawn ones over threads, and a list over processes.
#include <gtest/gtest.h>

#include <cstdlib>

#include "apps/command.h"
#include "apps/small_run.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class FortyLayouts : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(CheckLayouts, FortyLayouts, ::testing::Values("fp64", "fp32"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(FortyLayouts, ComputeWhatOneRankComputes) {
  const auto result =
      run_hadal(std::string("check layouts --random 40 --seed 1 --quiet --precision ") + GetParam(), "timeout 600");
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("40 of 40 layouts compute what one rank computes"), std::string::npos) << result.out;
}

TEST(CheckLayoutsOfProcesses, TensorAndExpertRanksUnderADualPipe) {
  if (!fs::exists(HADAL_BINARY_DIR "/hadal_mpi.so") || std::system("mpirun --version > /dev/null 2> /dev/null") != 0)
    GTEST_SKIP() << "mpirun starts nothing here (./setup --tests installs it)";
  const SmallRun small;
  const std::string layouts =
      " --layout pp=2,tp=2,ep=2,dp=2,schedule=dualpipe --layout dp=2,pp=2,ep=4,tp=2 "
      "--layout cp=2,tp=2,ep=4,pp=2,schedule=dualpipev --layout dp=4,ep=4,node_ranks=2";
  const auto result = run_hadal(
      "check layouts " + SmallRun::quoted(small.config()) +
          " --set model.n_layers=4 --set model.n_groups=2 --set model.n_limited_groups=1 --transport mpi --quiet" +
          layouts,
      "timeout 300");
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("4 of 4 layouts compute what one rank computes"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace hadal
