// Faults of ranks that are processes, in several layouts: whatever happens to one of them, the job ends and says why,
// or goes on; nothing is left behind, the last checkpoint is whole, and the run that goes on from it has the bits of
// one to which nothing happened. Moments and victims are drawn from HADAL_SEED (1); make soak gives it many.
#include <csignal>

#include "apps/last_checkpoint.h"
#include "apps/mpi_run.h"
#include "base/random.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

struct Case {
  const char* layout;
  int n_ranks;
};
constexpr Case kPlain = {"dp=2", 2}, kExperts = {"dp=2,ep=2", 2}, kPipeline = {"dp=2,pp=2,schedule=dualpipe", 4};
void PrintTo(const Case& one, std::ostream* to) { *to << one.layout; }

class RankFaults : public MpiRun {
 protected:
  void SetUp() override {
    MpiRun::SetUp();
    const char* given = std::getenv("HADAL_SEED");
    seed_ = given ? std::strtoull(given, nullptr, 10) : 1;
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    random_ = {seed_, stream_id(test.name()), 0};
  }
  int64_t draw(int64_t below, const char* what) {
    const auto drawn = int64_t(random_.below(uint64_t(below)));
    fmt::print("seed {}: {} {}\n", seed_, what, drawn);
    return drawn;
  }
  std::string layout(const Case& one) const { return std::string(" --layout ") + one.layout; }
  std::string endless(const Case& one) const { return layout(one) + " --steps 100000"; }

  // Three steps more than the run's last checkpoint has, as processes, and the same as threads without a fault.
  void expect_goes_on(const std::string& run, const Case& one) {
    const int64_t step = last_step(run);
    ASSERT_GT(step, 0);
    const std::string steps = fmt::format(" --quiet --steps {}", step + 3) + layout(one);
    const auto on =
        run_hadal("train " + SmallRun::quoted(small.run(run)) + steps, "timeout 120 " + mpirun(one.n_ranks));
    ASSERT_EQ(on.code, 0) << on.err;
    const std::string again = run + " again";
    ASSERT_EQ(run_hadal(small.train(again, endless(one) + fmt::format(" --stop-after {}", step))).code, 0);
    ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small.run(again)) + steps).code, 0);
    EXPECT_EQ(last_checkpoint(small.run(run)), last_checkpoint(small.run(again)));
  }
  // The same command as threads, to which nothing happens.
  void expect_bits_of_undisturbed(const std::string& run, const std::string& more) {
    const std::string again = run + " again";
    ASSERT_EQ(run_hadal(small.train(again, more)).code, 0);
    const auto wanted = last_checkpoint(small.run(again));
    EXPECT_GT(wanted.size(), 3u);
    EXPECT_EQ(last_checkpoint(small.run(run)), wanted);
  }
  std::string log_of(const std::string& run, int rank) const {
    return read_file(small.run(run) / "logs" / fmt::format("rank_{:04d}.log", rank));
  }
  // mpirun kills what has not ended some seconds after it asked; one second is little on a busy machine.
  std::string patient(int n) const { return mpirun(n) + " --mca odls_base_sigkill_timeout 2"; }

  uint64_t seed_ = 1;
  RandomStream random_{1, 0, 0};
};
class RankFaultsIn : public RankFaults, public testing::WithParamInterface<Case> {};
INSTANTIATE_TEST_SUITE_P(Layouts, RankFaultsIn, testing::Values(kPlain, kExperts, kPipeline));

TEST_P(RankFaultsIn, AKilledRankEndsTheJobWhichGoesOnWithItsBits) {
  const Case& one = GetParam();
  const int victim = int(draw(one.n_ranks, "kill rank")), other = victim == 0 ? 1 : 0;
  const int64_t ms = draw(600, "after ms");
  const auto killed =
      ended("run", in_background(patient(one.n_ranks) + " $HADAL " + small.train("run", endless(one)), "run") +
                       fmt::format("sleep 0.{:03d}; kill -9 {};", ms, process_of("run", victim)));
  EXPECT_TRUE(has(killed.err, "signal 9")) << killed.err;
  EXPECT_FALSE(has(killed.out, "rc 0")) << killed.out;
  EXPECT_TRUE(has(killed.err, fmt::format("rank {} was asked to stop while it waits for rank ", other))) << killed.err;
  EXPECT_TRUE(has(log_of("run", other), "was asked to stop while it waits for rank ")) << log_of("run", other);
  expect_goes_on("run", one);
}

TEST_P(RankFaultsIn, ARankThatStandsStillForEverEndsTheJob) {
  const Case& one = GetParam();
  const int victim = int(draw(one.n_ranks, "stop rank"));
  const auto stopped = ended("run", started(one.n_ranks, "run", endless(one) + " --watchdog 2") +
                                        fmt::format("kill -STOP {};", process_of("run", victim)));
  EXPECT_FALSE(has(stopped.out, "rc 0")) << stopped.out;
  EXPECT_TRUE(has(stopped.err, fmt::format("rank {} has given no sign of life for 2.", victim))) << stopped.err;
  for (int rank = 0; rank < one.n_ranks; ++rank) {  // each says what it waited for
    if (rank == victim) continue;
    const std::string log = log_of("run", rank);
    EXPECT_TRUE(has(log, fmt::format("; rank {} waits for rank ", rank)) && has(log, " since ")) << log;
  }
  expect_goes_on("run", one);
}

// The first rank makes and publishes it; the others write as well.
TEST_F(RankFaults, ARankKilledInsideACheckpointLeavesTheOneBefore) {
  for (const int victim : {0, 1 + int(draw(kPipeline.n_ranks - 1, "kill rank"))}) {
    const std::string run = fmt::format("rank {}", victim);
    const std::string partial = SmallRun::quoted(small.run(run) / "checkpoints") + "/step_*.partial";
    const auto killed =
        ended(run, started(kPipeline.n_ranks, run, endless(kPipeline)) + "RANK=" + process_of(run, victim) +
                       "; while kill -0 $JOB; do set -- " + partial + "; [ -d \"$1\" ] && break; done; kill -9 $RANK;");
    EXPECT_TRUE(has(killed.err, "signal 9")) << killed.err;
    expect_goes_on(run, kPipeline);
  }
}

TEST_F(RankFaults, RanksThatStandStillForAWhileGoOn) {
  const int victim = int(draw(kPipeline.n_ranks, "stop rank"));
  const std::string rank = process_of("run", victim);
  const auto one = ended("run", started(kPipeline.n_ranks, "run", "--steps 30" + layout(kPipeline)) + "RANK=" + rank +
                                    "; kill -STOP $RANK; sleep 5; kill -CONT $RANK;");
  EXPECT_TRUE(has(one.out, "rc 0") && has(one.out, "done: 30 steps")) << one.out << one.err;
  expect_bits_of_undisturbed("run", "--steps 30" + layout(kPipeline));
  // all at once, longer than the watchdog waits: none of them could have heard of the others
  const auto all = ended("all", started(2, "all", "--steps 30 --watchdog 2") + "RANKS=$(" + processes_of("all") +
                                    "); kill -STOP $RANKS; sleep 3; kill -CONT $RANKS;");
  EXPECT_TRUE(has(all.out, "rc 0") && has(all.out, "done: 30 steps")) << all.out << all.err;
  expect_bits_of_undisturbed("all", "--steps 30 --ranks 2");
}

// The first rank judges a step; what it throws ends the others, who say its reason. So does the same command again.
TEST_P(RankFaultsIn, NaNWithStopEndsTheJobAndEachRankSaysWhy) {
  const Case& one = GetParam();
  const std::string diverging = layout(one) +
                                " --steps 30 --set train.on_nan=stop --set optim.clip=0 --set optim.lr=100 "
                                "--set model.init_std=10 --set train.precision=fp32";
  for (const char* time : {"first", "again"}) {
    SCOPED_TRACE(time);
    const auto stopped =
        ended("run", "timeout 120 " + mpirun(one.n_ranks) + " $HADAL " + small.train("run", diverging) + " & JOB=$!;");
    EXPECT_FALSE(has(stopped.out, "rc 0") || has(stopped.out, "rc 124")) << stopped.out;
    const std::string why = "stopped, because train.on_nan = \"stop\"";
    EXPECT_TRUE(has(stopped.err, "hadal: error: rank 0: step ") && has(stopped.err, why)) << stopped.err;
    for (int rank = 0; rank < one.n_ranks; ++rank) {
      const std::string log = log_of("run", rank);
      EXPECT_TRUE(has(log, why)) << log;
      EXPECT_TRUE(rank == 0 || has(log, "rank 0 ended: step ")) << log;
    }
  }
  for (const fs::path& checkpoint : list_checkpoints(small.run("run") / "checkpoints")) verify_checkpoint(checkpoint);
}

TEST_F(RankFaults, AFullDiskOfOneRankEndsAllAndKeepsTheLastCheckpoint) {
  for (const int victim : {0, 3}) {
    const std::string run = fmt::format("rank {}", victim);
    const auto full = ended(run, started(kPipeline.n_ranks, run, endless(kPipeline)) + "prlimit --fsize=20000 --pid " +
                                     process_of(run, victim) + ";");
    EXPECT_FALSE(has(full.out, "rc 0")) << full.out;
    const std::string why = "files may not become so large here";
    for (int rank = 0; rank < kPipeline.n_ranks; ++rank) {
      const std::string log = log_of(run, rank);
      EXPECT_TRUE(has(log, why)) << log;
      EXPECT_TRUE(rank == victim || has(log, fmt::format("rank {} ", victim))) << log;
    }
    EXPECT_TRUE(has(full.err, fmt::format("error: rank {}: cannot write", victim)) && has(full.err, why)) << full.err;
    expect_goes_on(run, kPipeline);
  }
}

TEST_F(RankFaults, AFullDiskOfOneRankIsWaitedForByAll) {
  const auto until = [&](const std::string& said) {
    return fmt::format("for i in $(seq 1200); do grep -q '{}' {} && break; sleep 0.05; done; ", said,
                       SmallRun::quoted(small.run("run") / "log.txt"));
  };
  const auto waited =
      ended("run", started(kPipeline.n_ranks, "run", endless(kPipeline) + " --set checkpoint.on_full=wait") +
                       "RANK=" + process_of("run", 3) + "; prlimit --fsize=20000: --pid $RANK; " +
                       until("rank 3 could not save.*waiting for room") + "prlimit --fsize=unlimited: --pid $RANK; " +
                       until("there was room") + "kill -INT $RANK;");
  EXPECT_TRUE(has(waited.out, "rc 0") && has(waited.out, "stopped after ")) << waited.out << waited.err;
  EXPECT_TRUE(has(read_file(small.run("run") / "log.txt"), "there was room")) << waited.err;
  for (const fs::path& checkpoint : list_checkpoints(small.run("run") / "checkpoints")) verify_checkpoint(checkpoint);
}

// Of a checkpoint, and of the text's tokens, which no other rank than the first makes again.
TEST_F(RankFaults, ATruncatedFileThatOneRankSeesIsNamed) {
  std::string namespaces;
  for (const char* how : {"-m", "-rm"})
    if (namespaces.empty() &&
        std::system(fmt::format("unshare {} mount --bind /tmp /mnt 2> /dev/null", how).c_str()) == 0)
      namespaces = how;
  if (namespaces.empty()) GTEST_SKIP() << "no mount of one's own here";
  ASSERT_EQ(run_hadal(small.train("run", "--steps 9 --stop-after 2 --ranks 2")).code, 0);
  const std::string train = "train " + SmallRun::quoted(small.run("run")) + " --quiet --ranks 2";
  const fs::path shorter = small.root() / "shorter";
  for (const auto& [name, why] : {std::pair{"checkpoints/step_00000002/optimizer.safetensors", "truncated"},
                                  {"data/shards/000-00000.train.shard", "is damaged"}}) {
    const fs::path file = small.run("run") / name;
    const std::string whole = read_file(file);
    atomic_write(shorter, whole.substr(0, whole.size() - 1));
    const auto result = run_hadal(train + " : -n 1 unshare " + namespaces +
                                      " sh -c 'mount --bind \"$0\" \"$1\" && shift && exec \"$@\"' " +
                                      SmallRun::quoted(shorter) + " " + SmallRun::quoted(file) + " $HADAL " + train,
                                  mpirun(1));
    EXPECT_NE(result.code, 0);
    EXPECT_TRUE(has(result.err, "error: rank 1: ") && has(result.err, file.string())) << result.err;
    EXPECT_TRUE(has(result.err, why) && has(result.err, "rank 0: rank 1 ended: ")) << result.err;
    EXPECT_EQ(run_hadal("version > /dev/null", processes_of("run") + ";").out, "") << "a process is left";
    EXPECT_EQ(read_file(file), whole);
  }
  EXPECT_EQ(run_hadal(train, mpirun(2)).code, 0);
}

// In the middle of a run, and not the first rank: it cannot have the memory that it asks for.
TEST_F(RankFaults, ARankWithoutMemoryEndsTheJobAndIsNamedByAll) {
  const int victim = 1 + int(draw(kPipeline.n_ranks - 1, "starve rank"));
  const auto starved = ended("run", started(kPipeline.n_ranks, "run", endless(kPipeline)) +
                                        "prlimit --as=100000000 --pid " + process_of("run", victim) + ";");
  EXPECT_FALSE(has(starved.out, "rc 0") || has(starved.out, "rc 124")) << starved.out;
  EXPECT_TRUE(has(starved.err, fmt::format("error: rank {}: ", victim))) << starved.err;
  EXPECT_TRUE(has(log_of("run", victim), "error ended at ")) << log_of("run", victim);
  for (int rank = 0; rank < kPipeline.n_ranks; ++rank) {
    if (rank == victim) continue;
    const std::string log = log_of("run", rank);  // memory may first be short where it saves
    EXPECT_TRUE(has(log, fmt::format("rank {} ended: ", victim)) ||
                has(log, fmt::format("rank {} could not save: ", victim)))
        << log;
  }
  expect_goes_on("run", kPipeline);
}

// Before it speaks to the others.
TEST_F(RankFaults, WhatOneRankRefusesAtItsStartIsNamedWithIt) {
  const std::string train = small.train("run", "--steps 3");
  for (const auto& [bad, why] : {std::pair{" --set model.n_heads=0", "model.n_heads = 0 must lie in"},
                                 {" --set model.n_haeds=2", "n_haeds"},
                                 {" --text nothing.txt", "nothing.txt"}}) {
    const auto refused = run_hadal(train + " : -n 1 $HADAL " + train + bad, mpirun(1));
    EXPECT_NE(refused.code, 0);
    EXPECT_TRUE(has(refused.err, "hadal: error: rank 1: ") && has(refused.err, why)) << refused.err;
    EXPECT_EQ(run_hadal("version > /dev/null", processes_of("run") + ";").out, "") << "a process is left";
  }
}

TEST_F(RankFaults, AnotherConfigurationOrProgramIsRefusedByName) {
  const std::string train = small.train("run", "--steps 3");
  const auto config = run_hadal(train + " : -n 1 $HADAL " + train + " --set optim.lr=0.0123", mpirun(1));
  EXPECT_NE(config.code, 0);
  EXPECT_TRUE(has(config.err, "rank 1 was started with another configuration than rank 0: optim.lr: ")) << config.err;
  EXPECT_TRUE(has(config.err, "0.0123 (rank 0 -> rank 1)")) << config.err;
  const fs::path other = small.root() / "other" / "hadal";
  fs::create_directory(other.parent_path());
  fs::copy(HADAL_BINARY_DIR "/hadal", other);
  fs::create_symlink(HADAL_BINARY_DIR "/hadal_mpi.so", other.parent_path() / "hadal_mpi.so");
  ASSERT_EQ(std::system(("echo another build >> " + SmallRun::quoted(other)).c_str()), 0);
  const auto program = run_hadal(train + " : -n 1 " + SmallRun::quoted(other) + " " + train, mpirun(1));
  EXPECT_NE(program.code, 0);
  EXPECT_TRUE(has(program.err, "rank 1 is another program than rank 0: " + other.string())) << program.err;
  EXPECT_TRUE(has(program.err, "but rank 0 is " HADAL_BINARY_DIR "/hadal")) << program.err;
  EXPECT_FALSE(fs::exists(small.run("run")));
}

// A signal to any rank, to mpirun, or to the program that started mpirun.
TEST_F(RankFaults, AnInterruptStopsAllAfterTheSameStepSaved) {
  const int victim = 1 + int(draw(kPipeline.n_ranks - 1, "interrupt rank"));
  const auto check = [&](const std::string& run, const CommandResult& result, const Case& one, bool code) {
    SCOPED_TRACE(run);
    EXPECT_TRUE(!code || has(result.out, "rc 0")) << result.out << result.err;
    EXPECT_TRUE(has(result.out, "stopped after ")) << result.out << result.err;
    for (int rank = 0; rank < one.n_ranks; ++rank)
      EXPECT_TRUE(has(log_of(run, rank), fmt::format("done after step {}\n", last_step(run)))) << log_of(run, rank);
  };
  check("rank",
        ended("rank", started(kPipeline.n_ranks, "rank", endless(kPipeline)) +
                          fmt::format("kill -INT {};", process_of("rank", victim))),
        kPipeline, true);
  expect_goes_on("rank", kPipeline);
  const std::string of_mpirun = "kill -INT $(pgrep -P $JOB -x mpirun);";
  check("mpirun",
        ended("mpirun",
              in_background(patient(2) + " $HADAL " + small.train("mpirun", endless(kExperts)), "mpirun") + of_mpirun),
        kExperts, false);
  check("itself",
        ended("itself",
              in_background("$HADAL " + small.train("itself", endless(kExperts) + " --transport mpi"), "itself") +
                  "kill -INT $(pgrep -P $JOB -x hadal);"),
        kExperts, true);
}

}  // namespace
}  // namespace hadal
