// What a run writes down about itself: its parts' times, its configuration, and why it ended.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "train/trainer.h"

namespace hadal {
namespace {

// Parts of each step that has them, as a share of its seconds.
void expect_parts_of_the_step(const SmallRun& small, const std::string& name, size_t at_least) {
  size_t seen = 0;
  for (const auto& step : steps_of(small.run(name))) {
    if (!step.contains("parts")) continue;
    ++seen;
    double sum = 0;
    for (const auto& part : step["parts"]) sum += part.get<double>();
    EXPECT_GT(sum, 0) << step;
    EXPECT_LE(sum, step["seconds"].get<double>()) << step;
  }
  EXPECT_GE(seen, at_least);
}

TEST(Parts, OfAStepHoldNeitherValidationNorSamplesNorOtherSteps) {
  const SmallRun small;
  const auto often = run_hadal(small.train("often", "--steps 6 --set validation.every_steps=1"));
  ASSERT_EQ(often.code, 0) << often.err;
  expect_parts_of_the_step(small, "often", 6);
  // Parts stand in every third line of a run of 600 steps.
  const auto thin = run_hadal(small.train("thin", "--steps 600 --stop-after 10"));
  ASSERT_EQ(thin.code, 0) << thin.err;
  expect_parts_of_the_step(small, "thin", 4);
}

TEST(TextUsedUp, LeavesTheConfigurationAsItWasAsked) {
  const SmallRun small;
  atomic_write(small.text(), small_text(60, 2));
  const std::string options = "--steps 50 --set tokenizer.vocab_size=290 --set data.at_end=stop";
  const auto result = run_hadal(small.train("run", options));
  ASSERT_EQ(result.code, 0) << result.err;
  const auto checkpoint = list_checkpoints(small.run() / "checkpoints").back();
  EXPECT_NE(checkpoint.filename(), "step_00000050") << "this test proves nothing unless the text ends early";
  EXPECT_EQ(load_config((checkpoint / "config.toml").string()).train.steps, 50);
  EXPECT_EQ(load_config((small.run() / "config.toml").string()).train.steps, 50);
  const auto again = run_hadal(small.train("run", options));  // nothing is left to do, and that is fine
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(list_checkpoints(small.run() / "checkpoints").back(), checkpoint);
}

TrainRequest request_of(const SmallRun& small) {
  TrainRequest request;
  request.config = load_config(small.config().string());
  request.config.data.sources = {{.paths = {small.text().string()}}};
  request.config.run = small.run().string();
  request.quiet = true;
  return request;
}

// A run that was killed in the validation behind a checkpoint has no line of it; the run that goes on makes up for it.
TEST(Validation, ThatAKillTookIsMadeBehindTheCheckpointItBelongsTo) {
  const SmallRun small;
  TrainRequest request = request_of(small);
  request.config.validation.every_steps = 4;
  request.config.train.steps = 8;
  request.config.run = small.run("untouched").string();
  train(request, OwnedExec(1).exec);
  request.config.run = small.run().string();
  request.stop_after_step = 4;
  train(request, OwnedExec(1).exec);
  std::string kept;
  std::istringstream lines(read_file(small.run() / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);)
    if (line.find("\"validation\"") == std::string::npos) kept += line + "\n";
  atomic_write(small.run() / "metrics.jsonl", kept);
  request.stop_after_step = 0;
  train(request, OwnedExec(1).exec);
  const auto expected = lines_of(small.run("untouched"), "validation"), found = lines_of(small.run(), "validation");
  ASSERT_EQ(found.size(), 2u);
  ASSERT_EQ(expected.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found[i]["step"], expected[i]["step"]);
    EXPECT_EQ(found[i]["bits_per_byte"], expected[i]["bits_per_byte"]);
  }
}

TEST(Memory, OfValidationIsGivenBackBeforeTheNextStep) {
  const SmallRun small;
  const OwnedExec owned(1);
  TrainRequest request = request_of(small);
  request.config.validation.every_steps = 1;  // forwards of many more tokens than a step's
  request.config.checkpoint.every_steps = 0;
  request.config.train.steps = 4;
  request.config.train.batch_ramp.clear();
  request.config.train.batch_sequences = 2;
  std::vector<double> reserved;
  request.hooks.on_step = [&](const StepResult& step) {
    reserved.push_back(double(owned.exec.memory->bytes_reserved()));
    if (step.step == 1) owned.exec.memory->reset_peak();
  };
  train(request, owned.exec);
  ASSERT_EQ(reserved.size(), 4u);
  EXPECT_GT(double(owned.exec.memory->peak_reserved()), 1.3 * reserved[0]) << "this test proves nothing";
  for (double bytes : reserved) EXPECT_LE(bytes, 1.1 * reserved[0]);
}

TEST(Shards, CutOffWhileTheyAreTrainedOnEndTheRunWithTheirName) {
  const SmallRun small;
  TrainRequest request = request_of(small);
  request.config.validation.every_steps = 1;  // reads the held-out shard again
  request.hooks.on_step = [&](const StepResult& step) {
    if (step.step != 3) return;
    for (const auto& entry : std::filesystem::directory_iterator(small.run() / "data" / "shards"))
      if (entry.path().extension() == ".shard") std::filesystem::resize_file(entry.path(), 300);
  };
  try {
    train(request, OwnedExec(1).exec);
    FAIL() << "nothing was noticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_NE(std::string(error.what()).find(".shard: has 300 bytes"), std::string::npos) << error.what();
  }
}

// The kind with which a run ends whose numbers leave the finite.
ErrorKind end_of_divergence(OnNan on_nan) {
  const SmallRun small;
  TrainRequest request = request_of(small);
  request.config.train.on_nan = on_nan;
  request.config.train.max_skips = 2;
  request.config.train.precision = Precision::fp32;
  request.config.model.init_std = 10;
  request.config.optim.lr = 100;
  request.config.optim.clip = 0;
  try {
    train(request, OwnedExec(1).exec);
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(on_nan == OnNan::stop ? "train.on_nan" : "train.max_skips"),
              std::string::npos)
        << error.what();
    return error.kind();
  }
  ADD_FAILURE() << "the run did not diverge";
  return ErrorKind::internal;
}

TEST(Divergence, IsAFailureOfTheWorkAndNoFaultOfTheProgram) {
  EXPECT_EQ(end_of_divergence(OnNan::stop), ErrorKind::failed);
  EXPECT_EQ(end_of_divergence(OnNan::skip), ErrorKind::failed);
}

}  // namespace
}  // namespace hadal
