// hadal train as several processes: the bits of threads however it is started, and what is refused at the start. What
// happens when one of them fails: rank_faults_ranks_test.cpp.
#include <map>

#include "apps/last_checkpoint.h"
#include "apps/mpi_run.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

using MpiTraining = MpiRun;

TEST_F(MpiTraining, HasTheBitsOfThreadsHoweverItIsStarted) {
  ASSERT_EQ(run_hadal(small.train("threads", "--steps 5 --ranks 2")).code, 0);
  const auto wanted = last_checkpoint(small.run("threads"));
  ASSERT_GT(wanted.size(), 5u);
  const auto itself =
      run_hadal("train " + SmallRun::quoted(small.config()) + " --text " + SmallRun::quoted(small.text()) + " --run " +
                SmallRun::quoted(small.run("itself")) + " --steps 5 --ranks 2 --transport mpi");
  ASSERT_EQ(itself.code, 0) << itself.err;
  EXPECT_TRUE(has(itself.err, "starting mpirun -n 2 --oversubscribe")) << itself.err;
  EXPECT_TRUE(has(itself.err, "2 ranks as processes")) << itself.err;
  EXPECT_EQ(last_checkpoint(small.run("itself")), wanted);
  const auto launched = run_hadal(small.train("launched", "--steps 5"), mpirun(2));
  ASSERT_EQ(launched.code, 0) << launched.err;
  EXPECT_EQ(last_checkpoint(small.run("launched")), wanted);
  // one step more as processes is one step more as threads
  const std::string on = " --quiet --steps 6";
  ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small.run("launched")) + on, mpirun(2)).code, 0);
  ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small.run("threads")) + on).code, 0);
  EXPECT_EQ(last_checkpoint(small.run("launched")), last_checkpoint(small.run("threads")));
}

TEST_F(MpiTraining, RanksThatAreStartedDifferentlyAreRefusedByName) {
  const std::string train = small.train("run", "--steps 3");
  const auto both = [&](const std::string& first, const std::string& second) {
    const std::string base = mpirun(1);
    return run_hadal(train + first + " : -n 1 $HADAL " + train + second, base);
  };
  const auto layouts = both(" --layout dp=2", " --layout dp=3");
  EXPECT_NE(layouts.code, 0);
  EXPECT_TRUE(has(layouts.err, "rank 1: the layout has 3 ranks, but 2 were started: start 3, or")) << layouts.err;
  EXPECT_TRUE(has(layouts.err, "give a layout of 2, such as --layout dp=2")) << layouts.err;
  EXPECT_TRUE(has(layouts.err, "rank 0: rank 1 ended: the layout has 3 ranks")) << layouts.err;
  const auto kernels = both(" --isa reference", " --isa best");
  EXPECT_NE(kernels.code, 0);
  EXPECT_TRUE(has(kernels.err, "give --isa")) << kernels.err;
  const auto elsewhere = run_hadal(train + " : -n 1 $HADAL " + small.train("elsewhere", "--steps 3"), mpirun(1));
  EXPECT_NE(elsewhere.code, 0);
  EXPECT_TRUE(has(elsewhere.err, "is not on one file system for all ranks")) << elsewhere.err;
  EXPECT_FALSE(fs::exists(small.run("elsewhere")));
}

TEST_F(MpiTraining, TheProgramItselfNamesNoMpi) {
  EXPECT_NE(std::system("ldd '" HADAL_BINARY_DIR "/hadal' | grep -qi mpi"), 0);
  const auto missing = run_hadal(small.train("run", "--ranks 2 --transport mpi"), "PATH=/nowhere");
  EXPECT_NE(missing.code, 0);
  EXPECT_TRUE(has(missing.err, "mpirun cannot be started")) << missing.err;
}

}  // namespace
}  // namespace hadal
