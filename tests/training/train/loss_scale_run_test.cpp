// A run in FP16 whose scale is too high at first: stopped in the middle of its skips and resumed it has the bytes of an
// uninterrupted one; on two ranks every one skips the same steps.
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "train/metrics.h"
#include "train/small_step.h"
#include "train/trainer.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using namespace hadal::testing;

class LossScaleRun : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (fs::temp_directory_path() / "hadal-loss-scale-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root = folder;
    std::string text;
    for (int i = 0; i < 400; ++i) text += i % 7 ? "the sea is deep " : "and cold.\n";
    atomic_write(root / "text.txt", text);
    request.config = small_config(Precision::fp16);
    Config& config = request.config;
    config.model.vocab_size = 0, config.tokenizer.vocab_size = 280;
    config.data.sources.resize(1), config.data.sources[0].paths = {(root / "text.txt").string()};
    config.data.sequence_length = 12, config.data.holdout = Holdout::tail;
    config.train.steps = 14, config.train.batch_sequences = 4, config.train.micro_batch_sequences = 1;
    config.optim.ema_decay = 0.9;
    config.loss_scale.initial = 0x1p24, config.loss_scale.growth_steps = 3;
    config.checkpoint.every_steps = 0, config.validation.every_steps = 0;
    request.quiet = true;
  }
  void TearDown() override { fs::remove_all(root); }

  TrainOutcome run(const std::string& name, int64_t stop_after = 0) {
    request.config.run = (root / name).string();
    request.stop_after_step = stop_after;
    return train(request, owned.exec);
  }
  std::string last(const std::string& run, const std::string& file) const {
    return read_file(list_checkpoints(root / run / "checkpoints").back() / file);
  }
  // One letter a step: O skipped by an overflow, . an update.
  std::string trace(const std::string& run) const {
    std::string text;
    for (const auto& line : read_metrics(root / run / "metrics.jsonl"))
      if (line["kind"] == "step") text += line.contains("skipped") ? 'O' : '.';
    return text;
  }

  OwnedExec owned{2, best_isa()};
  fs::path root;
  TrainRequest request;
};

TEST_F(LossScaleRun, StoppedInTheMiddleOfItsSkipsEqualsUninterrupted) {
  run("whole");
  const std::string steps = trace("whole");
  ASSERT_EQ(steps.size(), 14u);
  EXPECT_EQ(steps.rfind("OOO", 0), 0u) << steps;
  EXPECT_NE(steps.find('.'), std::string::npos) << steps;
  EXPECT_NE(steps.find('O', steps.find('.')), std::string::npos) << "it never grew too far: " << steps;
  for (const int64_t stop : std::vector<int64_t>{2, int64_t(steps.find('.')) + 2}) {
    const std::string name = "parts" + std::to_string(stop);
    EXPECT_EQ(run(name, stop).steps, stop);
    EXPECT_EQ(run(name).resumed_from, stop);
    EXPECT_EQ(trace(name), steps);
    for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"})
      EXPECT_TRUE(last(name, file) == last("whole", file)) << file << ", stopped after " << stop;
  }
}

TEST_F(LossScaleRun, ShowsScaleAndSkipsInItsMetrics) {
  run("run");
  int64_t skips = 0;
  for (const auto& line : read_metrics(root / "run" / "metrics.jsonl")) {
    if (line["kind"] != "step") continue;
    skips += line.contains("skipped");
    EXPECT_EQ(line["overflows"], skips);
    EXPECT_GT(line["loss_scale"].get<double>(), 0);
  }
  EXPECT_GT(skips, 2);
}

TEST_F(LossScaleRun, RanksSkipTheSameSteps) {
  run("one");
  for (const bool pipeline : {false, true}) {
    (pipeline ? request.config.parallel.pp : request.config.parallel.dp) = 2;
    const std::string name = pipeline ? "pp" : "dp";
    run(name);
    EXPECT_EQ(trace(name).rfind("OOO", 0), 0u);
    EXPECT_EQ(trace(name), trace("one"));
    request.config.parallel = {};
  }
}

TEST_F(LossScaleRun, EndsWhereNoScaleIsSmallEnough) {
  request.config.loss_scale.floor = 0x1p23;
  EXPECT_ERROR(run("run"), ErrorKind::failed, "step 3: gradients overflow at a loss scale of 8388608, first in head",
               "loss_scale.floor = 8388608 forbids a smaller one");
}

}  // namespace
}  // namespace hadal
