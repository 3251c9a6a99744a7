// The world around a run: terminals, signals, instruction sets, threads, text that is empty or changes, directories
// that are not runs.
#include <gtest/gtest.h>

#include <cmath>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/isa.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

void expect_refused(const CommandResult& result, int code, std::initializer_list<std::string> words) {
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(result.err.rfind("hadal: error: ", 0), 0u) << result.err;
  for (const auto& word : words)
    EXPECT_NE(result.err.find(word), std::string::npos) << "'" << word << "' is not in: " << result.err;
}

// What a run of two steps shows on a terminal of its own.
std::string on_terminal(const std::string& environment) {
  const SmallRun small;
  std::string command = small.train("run", "--steps 2");
  command.erase(command.find("--quiet"), 7);
  atomic_write(small.root() / "run.sh", "exec \"$HADAL\" " + command + "\n");
  const auto shown = run_hadal("--version > /dev/null; cd " + SmallRun::quoted(small.root()) + " && env " +
                               environment + " script -qec 'sh run.sh' /dev/null < /dev/null");
  EXPECT_EQ(shown.code, 0) << shown.out << shown.err;
  EXPECT_NE(shown.out.find("step 2/2"), std::string::npos) << shown.out;
  return shown.out;
}

TEST(Terminal, ADumbOneGetsNoEscapeCodes) {
  if (run_hadal("--version > /dev/null; command -v script").code != 0)
    GTEST_SKIP() << "no 'script' to make a terminal with";
  EXPECT_EQ(on_terminal("TERM=dumb").find('\033'), std::string::npos);
  const auto plain = on_terminal("TERM=xterm NO_COLOR=1");  // a line may still be redrawn, in no colour
  for (size_t at = plain.find('\033'); at != std::string::npos; at = plain.find('\033', at + 1))
    EXPECT_EQ(plain.substr(at, 3), "\033[K");
  EXPECT_NE(on_terminal("TERM=xterm").find("\033[K"), std::string::npos);  // the test can fail
}

TEST(Signals, TheSecondOneLeavesAtOnce) {
  const SmallRun small;
  // A step of a hundred thousand sequences: the first signal finds it in the middle, and would wait for minutes.
  const auto result =
      run_hadal(small.train("run", "--set train.batch_sequences=100000") + " & p=$!; n=0; while ! grep -q start " +
                SmallRun::quoted(small.run() / "metrics.jsonl") +
                " 2> /dev/null && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; sleep 0.3; kill -INT $p; "
                "sleep 0.5; kill -INT $p; wait $p");
  EXPECT_EQ(result.code, 130) << result.err;
  EXPECT_NE(result.err.find("once more to leave at once"), std::string::npos) << result.err;
}

TEST(Signals, EndAProgramThatOnlyWaits) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer keeps a signal back until the wait is over";
#endif
  const SmallRun small;
  ASSERT_EQ(run_hadal("data build " + SmallRun::quoted(small.config()) + " --text " + SmallRun::quoted(small.text()) +
                      " --set run=" + SmallRun::quoted(small.run()) + " --quiet")
                .code,
            0);
  const auto pipe = SmallRun::quoted(small.root() / "pipe");
  for (const char* name : {"INT", "TERM"}) {
    // Input that never comes. A shell starts what runs behind it deaf to SIGINT; the program hears it again.
    const auto result =
        run_hadal("tokenizer encode --jsonl --tokenizer " + SmallRun::quoted(small.run() / "data" / "tokenizer") +
                      " < " + pipe + " & p=$!; exec 3> " + pipe + "; sleep 1; kill -" + name + " $p; wait $p",
                  "rm -f " + pipe + "; mkfifo " + pipe + ";");
    EXPECT_EQ(result.code, std::string(name) == "INT" ? 130 : 143) << result.err;
  }
}

TEST(Threads, ThatTheSystemRefusesAreAnErrorAndNoHang) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own memory does not fit below a limit";
#endif
  const SmallRun small;
  expect_refused(run_hadal(small.train("run", "--threads 2000"), "ulimit -v 1500000; timeout 60"), 1,
                 {"cannot start thread", "of 2000", "fewer threads"});
}

TEST(Kernels, EveryInstructionSetTrainsTheSameRun) {
  const SmallRun small;
  std::vector<double> losses;
  for (const Isa isa : available_isas()) {
    const std::string name = isa_name(isa);
    const auto result = run_hadal(
        small.train(name, "--steps 4 --set train.precision=fp32 --set checkpoint.every_steps=0 --isa " + name));
    ASSERT_EQ(result.code, 0) << result.err;
    losses.push_back(steps_of(small.run(name)).back()["loss"].get<double>());
    EXPECT_NEAR(losses.back(), losses.front(), 2e-3) << name;
  }
  expect_refused(run_hadal(small.train("x", "--isa mmx")), 2, {"mmx"});
  expect_refused(run_hadal(small.train("x", "--threads -1")), 2, {"threads"});
}

TEST(Experts, WithoutATokenDoNoHarm) {
  const SmallRun small;
  const auto result = run_hadal(small.train(
      "run", "--steps 3 --set model.n_routed_experts=64 --set train.batch_sequences=1 --set data.sequence_length=8"));
  ASSERT_EQ(result.code, 0) << result.err;
  const auto steps = steps_of(small.run());
  int64_t empty = 0;
  for (const auto& count : steps.back()["expert_load"][0]) empty += count == 0;
  EXPECT_GE(empty, 64 - 16);
}

TEST(Text, EmptyDocumentsAreNoHindrance) {
  const SmallRun small;
  const auto folder = small.root() / "some text";
  fs::create_directories(folder);
  atomic_write(folder / "empty.txt", "");
  atomic_write(folder / "blank.jsonl", "{\"text\": \"\"}\n{\"text\": \"x\"}\n\n{\"text\": \"\"}\n");
  atomic_write(folder / "a.txt", small_text(2000));
  const auto result = run_hadal(small.train("run", "--steps 2 --text " + SmallRun::quoted(folder)));
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST(Text, AnInterruptedBuildGoesOn) {
  const SmallRun small;
  atomic_write(small.text(), small_text(1'000'000));
  const std::string build = "data build " + SmallRun::quoted(small.config()) + " --text " +
                            SmallRun::quoted(small.text()) + " --set run=" + SmallRun::quoted(small.run()) +
                            " --set tokenizer.training_bytes=20000 --quiet";
  const auto stopped =
      run_hadal(build + " & p=$!; n=0; while [ ! -d " + SmallRun::quoted(small.run() / "data" / "shards") +
                " ] && [ $n -lt 3000 ]; do sleep 0.01; n=$((n+1)); done; kill -INT $p; wait $p");
  EXPECT_EQ(stopped.code, 1) << stopped.out;
  EXPECT_NE(stopped.err.find("interrupted"), std::string::npos) << stopped.err;
  const auto again = run_hadal(build);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.out.find("built now"), std::string::npos) << again.out;
}

// Between the data and the first step as while they are read: the command ends without a checkpoint, and says so.
TEST(Text, AnInterruptBeforeTheFirstStepEndsTheCommand) {
  const SmallRun small;
  const std::string large =
      "--set model.hidden_size=128 --set model.expert_ffn_size=512 --set model.n_routed_experts=24";
  const auto stopped = run_hadal(small.train("run", large) + " & p=$!; n=0; while [ ! -f " +
                                     SmallRun::quoted(small.run() / "config.toml") +
                                     " ] && [ $n -lt 3000 ]; do sleep 0.01; n=$((n+1)); done; kill -INT $p; wait $p",
                                 "env --default-signal=INT");
  EXPECT_EQ(stopped.code, 1) << stopped.out << stopped.err;
  EXPECT_NE(stopped.err.find("no step was made"), std::string::npos) << stopped.err;
  EXPECT_TRUE(list_checkpoints(small.run() / "checkpoints").empty());
  EXPECT_TRUE(fs::exists(small.run() / "data" / "shards" / "index.json"));
}

TEST(Fresh, DeletesRunsAndNothingElse) {
  const SmallRun small;
  const auto site = small.root() / "site";  // another program's configuration and data
  fs::create_directories(site / "data");
  atomic_write(site / "config.toml", "baseURL = 'x'\n");
  atomic_write(site / "data" / "precious", "x");
  expect_refused(run_hadal(small.train("site", "--fresh")), 2, {"not a run directory"});
  EXPECT_TRUE(fs::exists(site / "data" / "precious"));
  EXPECT_TRUE(fs::exists(site / "config.toml"));

  ASSERT_EQ(run_hadal(small.train("run", "--steps 2")).code, 0);
  atomic_write(small.run() / "notes.txt", "mine");
  // What can be refused is refused before anything is deleted.
  expect_refused(run_hadal("train " + SmallRun::quoted(small.config()) + " --text /nowhere.txt --fresh --run " +
                           SmallRun::quoted(small.run())),
                 1, {"/nowhere.txt"});
  expect_refused(run_hadal(small.train("run", "--fresh --set model.n_heads=0")), 2, {"n_heads"});
  EXPECT_EQ(list_checkpoints(small.run() / "checkpoints").size(), 2u);
  EXPECT_EQ(run_hadal(small.train("run", "--steps 1 --fresh")).code, 0);
  EXPECT_EQ(list_checkpoints(small.run() / "checkpoints").back().filename(), "step_00000001");
  EXPECT_TRUE(fs::exists(small.run() / "notes.txt"));
}

TEST(Finished, ARunCanBeOpenedAgainWithoutRepeatingItsRecord) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 3")).code, 0);
  const auto count = [&](const std::string& kind) {
    const auto text = read_file(small.run() / "metrics.jsonl");
    int n = 0;
    for (size_t at = text.find(kind); at != std::string::npos; at = text.find(kind, at + 1)) ++n;
    return n;
  };
  ASSERT_EQ(count("\"kind\":\"validation\""), 1);
  ASSERT_EQ(count("\"kind\":\"sample\""), 1);
  ASSERT_EQ(run_hadal(small.train("run", "--steps 3")).code, 0);
  EXPECT_EQ(count("\"kind\":\"validation\""), 1);
  EXPECT_EQ(count("\"kind\":\"sample\""), 1);
}

TEST(Numbers, ThatStopBeingNumbersStopTheRunWithAReason) {
  const SmallRun small;
  const auto result = run_hadal(small.train("run",
                                            "--steps 30 --set train.on_nan=stop --set optim.clip=0 --set optim.lr=100 "
                                            "--set model.init_std=10 --set train.precision=fp32"));
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_NE(result.err.find("train.on_nan"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace hadal
