// A run belongs to its user: looking changes nothing, and it goes on wherever it and its text lie, under whatever
// settings do not change what it computes, and under others when it is asked to.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <map>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/hash.h"
#include "base/testing.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

using testing::has;

std::string final_weights(const fs::path& run) {
  const auto found = list_checkpoints(run / "checkpoints");
  return found.empty() ? "none" : sha256_hex(read_file(found.back() / "model.safetensors"));
}

// A run stopped at step 3 of 6, and what it becomes when nobody disturbs it.
class RunOwnership : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(run_hadal(small.train("run", "--steps 6 --stop-after 3")).code, 0); }

  std::string undisturbed() {
    EXPECT_EQ(run_hadal(small.train("other", "--steps 6")).code, 0);
    return final_weights(small.run("other"));
  }
  void change_text() { atomic_write(small.text(), small_text(6000, 2)); }
  static std::string q(const fs::path& path) { return SmallRun::quoted(path); }
  std::string resume(const fs::path& run) { return "train " + q(run) + " --quiet"; }

  SmallRun small;
};

TEST_F(RunOwnership, LookingAtARunWritesNothingAndShowsWhatItWasTrainedOn) {
  const std::string explain = "data explain " + q(small.run()) + " --step 2 --sequences 2";
  const auto first = run_hadal(explain);
  ASSERT_EQ(first.code, 0) << first.err;
  const auto before = all_files(small.run());
  const std::string original = read_file(small.text());
  change_text();
  const auto changed = run_hadal(explain);
  EXPECT_EQ(changed.out, first.out);
  EXPECT_TRUE(has(changed.err, "changed: ")) << changed.err;
  fs::remove(small.text());
  const auto gone = run_hadal(explain);
  EXPECT_EQ(gone.out, first.out) << gone.err;
  EXPECT_TRUE(has(gone.err, "gone: ")) << gone.err;
  EXPECT_EQ(all_files(small.run()), before);
  atomic_write(small.text(), original);
  EXPECT_EQ(run_hadal(explain).err, "") << "text put back is text unchanged";
}

TEST_F(RunOwnership, BuildingTheDataOfARunThatHasBegunReplacesNothing) {
  const auto before = all_files(small.run() / "data");
  change_text();
  const auto result = run_hadal("data build " + q(small.run()));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(has(result.err, "changed: ")) << result.err;
  EXPECT_EQ(all_files(small.run() / "data"), before);
  const auto other = run_hadal("data build " + q(small.run()) + " --set data.holdout_fraction=0.3");
  EXPECT_EQ(other.code, 2) << other.err;
  EXPECT_TRUE(has(other.err, "other settings")) << other.err;
  EXPECT_EQ(all_files(small.run() / "data"), before);
}

TEST_F(RunOwnership, ADamagedShardIsNamedAndMendedByTheSameTextAlone) {
  for (const auto& entry : fs::directory_iterator(small.run() / "data/shards")) {
    if (entry.path().extension() != ".shard") continue;
    const std::string original = read_file(small.text()), name = entry.path().filename().string();
    std::string bytes = read_file(entry.path());
    bytes[bytes.size() / 2] ^= 16;
    atomic_write(entry.path(), bytes);
    change_text();
    const auto refused = run_hadal(resume(small.run()));
    EXPECT_EQ(refused.code, 1);
    EXPECT_TRUE(has(refused.err, name) && has(refused.err, "not the one")) << refused.err;
    atomic_write(small.text(), original);
    EXPECT_EQ(run_hadal(resume(small.run())).code, 0);
    EXPECT_TRUE(has(read_file(small.run() / "log.txt"), name));
    EXPECT_EQ(final_weights(small.run()), undisturbed());
    return;
  }
  FAIL() << "no shard";
}

TEST_F(RunOwnership, GoesOnFromAnyDirectory) {
  const std::string whole = undisturbed();
  const std::string cd = "cd " + q(small.root()) + " &&";
  const std::string relative = "train small.toml --text 'täxt file.txt' --run there --quiet --steps 6 ";
  ASSERT_EQ(run_hadal(relative + "--stop-after 2", cd).code, 0);
  EXPECT_EQ(run_hadal(relative + "--stop-after 3", cd).code, 0);
  fs::create_directories(small.root() / "elsewhere");
  const auto result = run_hadal("train ../there --quiet", "cd " + q(small.root() / "elsewhere") + " &&");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(final_weights(small.run("there")), whole);
}

TEST_F(RunOwnership, GoesOnMovedAndWithoutItsText) {
  const std::string whole = undisturbed();
  fs::remove(small.text());
  fs::create_directories(small.root() / "new place");
  fs::rename(small.run(), small.root() / "new place/moved");
  const auto result = run_hadal("train moved --quiet", "cd " + q(small.root() / "new place") + " &&");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(final_weights(small.root() / "new place/moved"), whole);
}

TEST_F(RunOwnership, TextMayBeNamedAnewWhereItsHashesAgree) {
  fs::rename(small.text(), small.root() / "new name.txt");
  const std::string named = resume(small.run()) + " --text " + q(small.root() / "new name.txt");
  EXPECT_EQ(run_hadal(named + " --stop-after 4").code, 0);
  const auto again = run_hadal("data explain " + q(small.run()));
  EXPECT_EQ(again.err, "") << "the run knows where its text lies now";
  atomic_write(small.root() / "new name.txt", small_text(6000, 2));
  atomic_write(small.root() / "third.txt", small_text(6000, 3));
  const auto other = run_hadal(resume(small.run()) + " --text " + q(small.root() / "third.txt"));
  EXPECT_EQ(other.code, 2);
  EXPECT_TRUE(has(other.err, "third.txt") && has(other.err, "--model")) << other.err;
  EXPECT_EQ(run_hadal(resume(small.run()) + " --text " + q(small.root() / "nowhere.txt")).code, 1);
  EXPECT_EQ(run_hadal(resume(small.run())).code, 0);
  EXPECT_TRUE(has(read_file(small.run() / "log.txt"), "changed: ")) << "text changed in its place is a note";
}

TEST_F(RunOwnership, WhatGivesTheSameBitsMayChangeAndIsRecorded) {
  const std::string whole = undisturbed();
  const auto result = run_hadal(resume(small.run()) +
                                " --set train.recompute=all --set train.max_skips=3 --set checkpoint.keep=5"
                                " --set train.on_nan=stop --stop-after 5");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(run_hadal(resume(small.run())).code, 0);
  EXPECT_EQ(final_weights(small.run()), whole);
  const std::string noted = read_file(small.run() / "metrics.jsonl"), log = read_file(small.run() / "log.txt");
  EXPECT_TRUE(has(noted, "train.recompute: \\\"none\\\" -> \\\"all\\\"")) << noted;
  EXPECT_TRUE(has(log, "from step 4 on: train.max_skips: 10 -> 3")) << log;
}

TEST_F(RunOwnership, WhatTheMachineChoseMayBeAnotherOnAnotherMachine) {
  const auto result = run_hadal(resume(small.run()) + " --set train.micro_batch_sequences=3 --threads 1");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(has(read_file(small.run() / "metrics.jsonl"), "train.micro_batch_sequences: 2 -> 3"));
}

TEST_F(RunOwnership, WhatChangesTheMathematicsIsAskedFor) {
  const auto refused = run_hadal(resume(small.run()) + " --set optim.lr=0.001 --set train.batch_sequences=4");
  EXPECT_EQ(refused.code, 2);
  for (const char* part :
       {"optim.lr: 0.003 -> 0.001", "--change optim.lr=VALUE", "--change train.batch_sequences=VALUE"})
    EXPECT_TRUE(has(refused.err, part)) << refused.err;
  EXPECT_GT(refused.err.find("--fresh"), refused.err.find("--change")) << "ways that lose no work come first";

  const auto changed =
      run_hadal(resume(small.run()) + " --change optim.lr=0.001 --change train.batch_sequences=4 --stop-after 5");
  ASSERT_EQ(changed.code, 0) << changed.err;
  ASSERT_EQ(run_hadal(resume(small.run())).code, 0) << "from now on the run has the new values";
  const auto steps = steps_of(small.run());
  ASSERT_EQ(steps.size(), 6u);
  EXPECT_LT(steps[4]["lr"].get<double>(), steps[2]["lr"].get<double>() * 0.5);
  EXPECT_TRUE(has(read_file(small.run() / "log.txt"), "from step 4 on: optim.lr: 0.003 -> 0.001"));
  ASSERT_EQ(run_hadal("report " + q(small.run())).code, 0);
  EXPECT_TRUE(has(read_file(small.run() / "report.html"), "optim.lr: 0.003 -&gt; 0.001"));
  EXPECT_NE(final_weights(small.run()), undisturbed());
}

// Step numbers mean what they meant in training, also when steps before had other batches.
TEST_F(RunOwnership, ExplainCountsTheSequencesThatWereTrainedOn) {
  ASSERT_EQ(run_hadal(resume(small.run()) + " --change train.batch_sequences=30 --change train.batch_ramp=[]").code, 0);
  int64_t before = 0;
  for (const auto& step : steps_of(small.run())) {
    if (step["step"].get<int64_t>() < 6) before += step["sequences"].get<int64_t>();
  }
  const auto shown = run_hadal("data explain " + q(small.run()) + " --step 6 --sequences 1");
  EXPECT_TRUE(has(shown.out, "number " + std::to_string(before) + " of the stream")) << before << "\n" << shown.out;
}

TEST_F(RunOwnership, WhatCannotChangeIsRefusedWithTheOtherWays) {
  const auto model = run_hadal(resume(small.run()) + " --set model.hidden_size=32");
  EXPECT_EQ(model.code, 2);
  for (const char* part : {"model.hidden_size: 24 -> 32", "--model", "--fresh"}) EXPECT_TRUE(has(model.err, part));
  EXPECT_FALSE(has(model.err, "--change")) << model.err;
  const auto change = run_hadal(resume(small.run()) + " --change model.hidden_size=32");
  EXPECT_EQ(change.code, 2);
  EXPECT_TRUE(has(change.err, "--change model.hidden_size=32") && has(change.err, "--model")) << change.err;
  const auto source = run_hadal(resume(small.run()) + " --set data.sources.0.weight=0.5");
  EXPECT_EQ(source.code, 2);
  EXPECT_TRUE(has(source.err, "data.sources.0.weight: 0.0 -> 0.5")) << source.err;
  const auto none = run_hadal(small.train("not yet", "--change optim.lr=1e-3"));
  EXPECT_EQ(none.code, 2);
  EXPECT_TRUE(has(none.err, "has not begun") && has(none.err, "--set optim.lr=1e-3")) << none.err;
  EXPECT_EQ(run_hadal(resume(small.run()) + " --change optim.lr").code, 2);
  EXPECT_EQ(run_hadal(resume(small.run()) + " --change optim.learning_rate=1").code, 2);
  EXPECT_EQ(run_hadal(resume(small.run()) + " --change train.precision=fp64").code, 2);
}

TEST_F(RunOwnership, TextThatWasBuiltIntoARunIsTakenByItsFirstTraining) {
  const std::string built = " --set run=" + q(small.run("built").string());
  ASSERT_EQ(run_hadal("data build " + q(small.config()) + " --text " + q(small.text()) + built).code, 0);
  const auto before = all_files(small.run("built") / "data/shards");
  const auto early = run_hadal(resume(small.run("built")));
  EXPECT_EQ(early.code, 1);
  EXPECT_TRUE(has(early.err, "hadal train CONFIG --run")) << early.err;
  EXPECT_EQ(run_hadal(small.train("built", "--steps 6")).code, 0);
  EXPECT_EQ(all_files(small.run("built") / "data/shards"), before);
  EXPECT_EQ(final_weights(small.run("built")), undisturbed());
}

// Trains on and on; `then` is shell text once steps are made, with the process in $p. What the shell itself ignores is
// nothing that the program should hear of, so `signals` says it anew.
CommandResult train_until(const SmallRun& small, const std::string& name, const std::string& signals,
                          const std::string& then) {
  return run_hadal(small.train(name, "--steps 100000 --set checkpoint.every_steps=0") +
                       " & p=$!; n=0; while ! grep -q step " + SmallRun::quoted(small.run(name) / "metrics.jsonl") +
                       " 2> /dev/null && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; " + then + " wait $p",
                   "env " + signals);
}

TEST_F(RunOwnership, AClosedTerminalSavesAsAnInterruptDoes) {
  for (const std::string signal : {"HUP", "TERM"}) {
    const auto result = train_until(small, "run " + signal, "--default-signal=" + signal, "kill -" + signal + " $p;");
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_FALSE(list_checkpoints(small.run("run " + signal) / "checkpoints").empty()) << signal;
  }
}

TEST_F(RunOwnership, WhoAsksForNoHangUpGetsNone) {
  const auto result = train_until(small, "nohup", "--ignore-signal=HUP --default-signal=TERM",
                                  "kill -HUP $p; sleep 0.3; kill -0 $p && echo alive; kill -TERM $p;");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(has(result.out, "alive")) << result.out << result.err;
}

}  // namespace
}  // namespace hadal
