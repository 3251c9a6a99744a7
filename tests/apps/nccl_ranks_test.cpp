// hadal over --transport nccl, with stand-ins for CUDA's driver and NCCL: layouts compute what one rank computes, and a
// run has the bits of threads.
#include "apps/last_checkpoint.h"
#include "apps/mpi_run.h"
#include "apps/nccl_testing.h"

namespace hadal {
namespace {

class NcclTraining : public MpiRun {
 protected:
  // Whether each of n ranks has sent something over NCCL.
  void expect_carried(int n) const {
    const std::string log = read_file(log_ / "log");
    for (int r = 0; r < n; ++r) {
      EXPECT_TRUE(has(log, fmt::format("rank {} sent ", r))) << log;
      EXPECT_FALSE(has(log, fmt::format("rank {} sent 0 ", r))) << log;
    }
  }
  std::string logged() const { return "HADAL_STAND_IN_LOG=" + SmallRun::quoted(log_ / "log"); }
  NcclBinary binary;

 private:
  testing::TempDir log_;
};

TEST_F(NcclTraining, HasTheBitsOfThreads) {
  const std::string wide = "--steps 4 --ranks 2 --set model.hidden_size=96 --set model.dense_ffn_size=160";
  ASSERT_EQ(run_hadal(small.train("threads", wide)).code, 0);
  const CommandResult trained = binary.run(small.train("nccl", wide + " --transport nccl"), logged());
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(last_checkpoint(small.run("nccl")), last_checkpoint(small.run("threads")));
  expect_carried(2);
}

TEST_F(NcclTraining, LayoutsComputeWhatOneRankComputes) {
  const CommandResult checked = binary.run(
      "check layouts " + SmallRun::quoted(small.config()) +
          " --set model.n_layers=4 --transport nccl --quiet --layout tp=2,ep=2,pp=2,schedule=dualpipe --layout "
          "dp=4,ep=2,node_ranks=2",
      logged());
  EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
  EXPECT_TRUE(has(checked.out, "2 of 2 layouts compute what one rank computes")) << checked.out;
  expect_carried(4);
}

TEST_F(NcclTraining, ProgramAndModuleNameNeitherNcclNorCuda) {
  for (const char* file : {"/hadal", "/hadal_nccl.so", "/tests/hadal_nccl.so"})
    EXPECT_NE(
        std::system((std::string("ldd '" HADAL_BINARY_DIR) + file + "' 2> /dev/null | grep -qE 'nccl|cuda'").c_str()),
        0)
        << file;
}

}  // namespace
}  // namespace hadal
