// hadal train as several processes: the bits of threads, and what happens when a process fails, dies, stands still or
// is started otherwise than the others.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "apps/command.h"
#include "apps/last_checkpoint.h"
#include "apps/small_run.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class MpiTraining : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(HADAL_BINARY_DIR "/hadal_mpi.so") ||
        std::system((mpirun(1) + " true > /dev/null 2> /dev/null").c_str()) != 0)
      GTEST_SKIP() << "mpirun starts nothing here (./setup --tests installs it)";
  }
  static std::string mpirun(int n) {
    return fmt::format("mpirun -n {} --oversubscribe --bind-to none --mca btl_vader_single_copy_mechanism none {}", n,
                       geteuid() == 0 ? "--allow-run-as-root" : "");
  }
  // Shell text that starts a run as n processes in the background and waits until it has made a step.
  std::string started(int n, const std::string& run, const std::string& more) const {
    return "timeout 120 " + mpirun(n) + " $HADAL " + small.train(run, more) + " & JOB=$!; for i in $(seq 400); do " +
           "grep -q '\"step\",\"step\":2' " + SmallRun::quoted(small.run(run) / "metrics.jsonl") +
           " 2> /dev/null && break; sleep 0.05; done; RANK=$(" + processes_of(run) + " | tail -n 1); ";
  }
  // Shell text that lists the processes of a run.
  std::string processes_of(const std::string& run) const {
    return "for p in /proc/[0-9]*; do grep -qx hadal $p/comm 2> /dev/null && grep -q " +
           SmallRun::quoted(small.run(run)) + " $p/cmdline 2> /dev/null && echo ${p#/proc/}; done | sort -n";
  }

  SmallRun small;
};

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

TEST_F(MpiTraining, AKilledRankEndsTheJobAndTheRunGoesOnWithTheBitsItWouldHaveHad) {
  ASSERT_EQ(run_hadal(small.train("whole", "--steps 12 --ranks 2")).code, 0);
  const auto killed = run_hadal("version", started(2, "killed", "--steps 100000") + "kill -9 $RANK; wait $JOB; ");
  EXPECT_TRUE(has(killed.err, "signal 9")) << killed.err;
  EXPECT_EQ(run_hadal("version > /dev/null", processes_of("killed") + ";").out, "") << "a process is left";
  // from its last complete checkpoint, to where the whole one stopped or beyond
  const auto found = list_checkpoints(small.run("killed") / "checkpoints");
  ASSERT_FALSE(found.empty());
  const int64_t step = std::stoll(found.back().filename().string().substr(5));
  const std::string steps = std::to_string(step + 3);
  const auto on = run_hadal("train " + SmallRun::quoted(small.run("killed")) + " --quiet --steps " + steps, mpirun(2));
  ASSERT_EQ(on.code, 0) << on.err;
  ASSERT_EQ(run_hadal(small.train("again", "--ranks 2 --steps 100000 --stop-after " + std::to_string(step))).code, 0);
  ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small.run("again")) + " --quiet --steps " + steps).code, 0);
  const auto ours = last_checkpoint(small.run("killed")), wanted = last_checkpoint(small.run("again"));
  const std::string weights =
      list_checkpoints(small.run("killed") / "checkpoints").back().filename().string() + "/model.safetensors";
  ASSERT_TRUE(ours.contains(weights) && wanted.contains(weights));
  EXPECT_EQ(ours.at(weights), wanted.at(weights));
}

TEST_F(MpiTraining, ARankThatStandsStillForAWhileGoesOn) {
  const auto stopped = run_hadal("version", started(2, "still", "--steps 40") +
                                                "kill -STOP $RANK; sleep 3; kill -CONT $RANK; wait $JOB; echo rc $?; ");
  EXPECT_TRUE(has(stopped.out, "rc 0")) << stopped.out << stopped.err;
  EXPECT_TRUE(has(stopped.out, "40 steps")) << stopped.out;
}

TEST_F(MpiTraining, RanksThatAreStartedDifferentlyAreRefusedByName) {
  const std::string train = small.train("run", "--steps 3");
  const auto both = [&](const std::string& first, const std::string& second) {
    const std::string base = mpirun(1);
    return run_hadal(train + first + " : -n 1 $HADAL " + train + second, base);
  };
  const auto layouts = both(" --layout dp=2", " --layout dp=3");
  EXPECT_NE(layouts.code, 0);
  EXPECT_TRUE(has(layouts.err, "rank 1: the layout has 3 ranks, but 2 were started")) << layouts.err;
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
