// The moving average of the weights, in every verb that reads weights, in what a run writes down and on its page.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/html_check.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "exchange/export_source.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class Averages : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    small_ = std::make_unique<SmallRun>();
    if (run_hadal(small_->train("run", "--steps 3 --set optim.lr=0.02")).code != 0) return small_.reset();
    atomic_write(texts(), "{\"text\": \"the sea is deep and cold\"}\n{\"tokens\": [5, 6, 7, 8]}\n");
  }
  static void TearDownTestSuite() { small_.reset(); }
  void SetUp() override { ASSERT_TRUE(small_) << "training failed"; }

  static fs::path texts() { return small_->root() / "texts.jsonl"; }
  static std::string model(const std::string& name = "run") { return "--model " + SmallRun::quoted(small_->run(name)); }
  static std::string file(const std::string& name) { return SmallRun::quoted(small_->root() / name); }
  static std::string fine(const std::string& command) {
    const CommandResult result = run_hadal(command);
    EXPECT_EQ(result.code, 0) << command << ": " << result.err;
    return result.out;
  }
  static std::string scores(const std::string& of) {
    // the form that the run records and its exports do not
    return fine("score --quiet --precision fp32 --attention-form up_projected --bos off --input " +
                SmallRun::quoted(texts()) + " " + of);
  }
  static void export_as(const std::string& name, const std::string& how) {
    fine("export --quiet " + how + " " + model() + " --output " + SmallRun::quoted(small_->run(name)));
  }
  static std::unique_ptr<SmallRun> small_;
};
std::unique_ptr<SmallRun> Averages::small_;

TEST_F(Averages, AreExportedAsWhatOtherVerbsReadUnderEma) {
  export_as("averages", "--to hf --dtype fp32 --ema");
  export_as("weights", "--to hf --dtype fp32");
  EXPECT_EQ(scores(model("averages")), scores(model() + " --ema"));
  EXPECT_EQ(scores(model("weights")), scores(model()));
  EXPECT_NE(scores(model()), scores(model() + " --ema"));

  // Every tensor that is trained is the average, the others are the weights'.
  const TensorFiles averages = TensorFiles::open(small_->run("averages")),
                    weights = TensorFiles::open(small_->run("weights"));
  EXPECT_EQ(averages.names(), weights.names());
  for (const std::string& name : averages.names()) {
    const Tensor a = averages.tensor(name), w = weights.tensor(name);
    const bool same = std::memcmp(a.raw(), w.raw(), size_t(a.bytes())) == 0;
    EXPECT_EQ(same, name.find("e_score_correction_bias") != std::string::npos) << name;
  }
}

TEST_F(Averages, AreExportedForLlamaToo) {
  export_as("gguf averages", "--to gguf --dtype fp32 --ema");
  export_as("gguf weights", "--to gguf --dtype fp32");
  const auto only_file = [&](const char* name) { return read_file(fs::directory_iterator(small_->run(name))->path()); };
  const std::string averages = only_file("gguf averages"), weights = only_file("gguf weights");
  EXPECT_EQ(averages.size(), weights.size());
  EXPECT_NE(averages, weights);
}

TEST_F(Averages, AreNoContinuationOfAnExportOfTheWeights) {
  const ModelDirectory weights = open_model(small_->run());
  EXPECT_NE(ExportSource(averages_of(weights)).identity(), ExportSource(weights).identity());
}

TEST_F(Averages, GoThroughEveryVerbThatReadsWeights) {
  export_as("of averages", "--to hf --dtype fp32 --ema");
  const auto traced = [&](const std::string& of, const std::string& to) {
    fine("trace --quiet --precision fp32 --tokens 5,6,7,8 " + of + " --output " + file(to));
    return read_file(small_->root() / to);
  };
  const std::string average = traced(model() + " --ema", "average.trace");
  EXPECT_EQ(average, traced(model("of averages"), "exported.trace"));
  EXPECT_NE(average, traced(model(), "weights.trace"));
  const auto gradients = [&](const std::string& of, const std::string& to) {
    fine("grads --quiet --precision fp32 --bos off --input " + SmallRun::quoted(texts()) + " " + of + " --output " +
         file(to));
    return read_file(small_->root() / to / "gradients.safetensors");
  };
  EXPECT_EQ(gradients(model() + " --ema", "average"), gradients(model("of averages"), "exported"));
  EXPECT_NE(gradients(model() + " --ema", "average"), gradients(model(), "weights"));
  fine("check engine --quiet --ema --requests 2 --max-tokens 2 --prompt-tokens 4 " + model());
}

TEST_F(Averages, OfAModelThatKeepsNoneAreRefusedByName) {
  export_as("bare", "--to hf --dtype fp32");
  for (const char* verb : {"export --to hf --output nowhere", "trace --tokens 5 --output nowhere"}) {
    const CommandResult result = run_hadal(verb + std::string(" --ema ") + model("bare"));
    EXPECT_EQ(result.code, 1) << result.err;
    EXPECT_NE(result.err.find("an exported model keeps no moving average"), std::string::npos) << result.err;
  }
  ASSERT_EQ(run_hadal(small_->train("without", "--steps 1 --set optim.ema_decay=0")).code, 0);
  const CommandResult without = run_hadal("export --to hf --output nowhere --ema " + model("without"));
  EXPECT_EQ(without.code, 1);
  EXPECT_NE(without.err.find("train with optim.ema_decay above 0"), std::string::npos) << without.err;
  EXPECT_TRUE(lines_of(small_->run("without"), "average").empty());
}

// The line says what a model of the averages alone would have been validated at.
TEST_F(Averages, AreValidatedOnceWhereARunEnds) {
  const auto lines = lines_of(small_->run(), "average"), validations = lines_of(small_->run(), "validation");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("step"), 3);
  EXPECT_EQ(lines[0].at("bytes"), validations.back().at("bytes"));
  EXPECT_NE(lines[0].at("bits_per_byte"), validations.back().at("bits_per_byte"));
  // A new run from the average that learns nothing ends at the same figure.
  const CommandResult still =
      run_hadal(small_->train("still",
                              "--steps 1 --set optim.lr=0 --set train.bias_update_speed=0 --set optim.ema_decay=0 "
                              "--set train.start_average=true " +
                                  model()));
  ASSERT_EQ(still.code, 0) << still.err;
  EXPECT_EQ(lines_of(small_->run("still"), "validation").back().at("bits_per_byte"), lines[0].at("bits_per_byte"));
  // Opened again it ends as it did, and ranks agree on it.
  ASSERT_EQ(run_hadal(small_->train("run", "--steps 3 --set optim.lr=0.02")).code, 0);
  EXPECT_EQ(lines_of(small_->run(), "average").size(), 1u);
  fs::copy(small_->run(), small_->run("ranks"), fs::copy_options::recursive);
  fs::remove(small_->run("ranks") / "metrics.jsonl");
  ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small_->run("ranks")) + " --quiet --layout dp=2 --threads 2").code,
            0);
  EXPECT_EQ(lines_of(small_->run("ranks"), "average").at(0).at("bits_per_byte"), lines[0].at("bits_per_byte"));
}

TEST_F(Averages, StandBesideTheWeightsOnThePage) {
  const std::string ask = "eval --quiet --tasks arithmetic --limit 3 --few-shot 1 --record " + model();
  fine(ask);
  fine(ask + " --ema");
  const auto kept = [&](const char* name) { return read_json<nlohmann::json>(small_->run() / "evals" / name); };
  EXPECT_EQ(kept("arithmetic.json").at("asked").at("ema"), false);
  EXPECT_EQ(kept("arithmetic.ema.json").at("asked").at("ema"), true);
  EXPECT_EQ(kept("arithmetic.json").at("asked").at("few_shot"), 1);
  fine("report " + SmallRun::quoted(small_->run()));
  const std::string page = read_file(small_->run() / "report.html");
  EXPECT_EQ(html_fault(page), "");
  EXPECT_NE(page.find("<th>step_00000003</th><th>step_00000003, average</th>"), std::string::npos);
  EXPECT_NE(page.find("arithmetic, average: 3 of 3 items"), std::string::npos);
  const double bits = lines_of(small_->run(), "average").at(0).at("bits_per_byte");
  EXPECT_NE(page.find(fmt::format("<th>bits per byte of the moving average</th><td>{:.4f}</td>", bits)),
            std::string::npos);
}

}  // namespace
}  // namespace hadal
