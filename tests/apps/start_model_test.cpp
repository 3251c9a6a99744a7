// `hadal train --model`: a run starts from another model's weights, has its sizes and its tokenizer, and goes on
// without the directory it came from.
#include <gtest/gtest.h>

#include <cmath>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "config/config_io.h"
#include "exchange/model_directory.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// A configuration without a model section, and a trained model as a Hugging Face directory made of a run's checkpoint.
class StartModel : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_hadal(small_.train("first", "--steps 3")).code, 0);
    const auto at = open_model(small_.run("first"));
    fs::create_directory(start());
    for (const char* name : {"model.safetensors", "tokenizer.json", "tokenizer_config.json"})
      fs::copy(at.directory / name, start() / name);
    atomic_write(start() / "config.json", hf_config_to_json(at.config));
    atomic_write(tune(),
                 "[data]\nsequence_length = 32\n[train]\nsteps = 6\nbatch_sequences = 4\n[optim]\nlr = 0.001\n"
                 "[validation]\nsamples = 0\n");
  }
  fs::path start() const { return small_.root() / "start"; }
  fs::path tune() const { return small_.root() / "tune.toml"; }
  std::string train(const std::string& more, const std::string& run = "tuned") const {
    return "train " + SmallRun::quoted(tune()) + " --text " + SmallRun::quoted(small_.text()) + " --run " +
           SmallRun::quoted(small_.run(run)) + " --quiet " + more;
  }
  std::string model() const { return "--model " + SmallRun::quoted(start()) + " "; }
  static Tensor weight(const fs::path& model, const std::string& name) {
    return TensorFiles::open(open_model(model).directory).tensor(name);
  }
  static double largest_difference(const Tensor& a, const Tensor& b) {
    double largest = 0;
    for (int64_t i = 0; i < a.count(); ++i) largest = std::max(largest, std::fabs(element(a, i) - element(b, i)));
    return largest;
  }
  SmallRun small_;
};

TEST_F(StartModel, TakesWeightsSizesBiasAndTokenizerAndKeepsThem) {
  const auto result = run_hadal(train(model() + "--set optim.lr=0 --set optim.weight_decay=0 --set "
                                                "train.bias_update_speed=0"));
  ASSERT_EQ(result.code, 0) << result.err;
  const auto before = open_model(start()), after = open_model(small_.run("tuned"));
  EXPECT_EQ(after.config.model.n_mtp, 1);
  ASSERT_EQ(before.files->names(), after.files->names());
  for (const auto& name : before.files->names())  // nothing was learnt, so everything is as it was
    EXPECT_EQ(largest_difference(before.files->tensor(name), after.files->tensor(name)), 0) << name;
  const auto stored = load_config((small_.run("tuned") / "config.toml").string());
  EXPECT_EQ(stored.train.start_model, fs::canonical(start()).string());
  EXPECT_EQ(stored.model.hidden_size, 24);
  EXPECT_EQ(read_file(after.directory / "tokenizer.json"), read_file(start() / "tokenizer.json"));
}

// Nothing is learnt, so that the checkpoint behind the first step holds what every rank loaded.
TEST_F(StartModel, EveryLayoutStartsFromTheSameBitsAndTheSameLoss) {
  for (const std::string dtype : {"bf16", "fp8"}) {
    const fs::path from = small_.root() / dtype;
    const auto exported = run_hadal("export --to hf --dtype " + dtype + " --model " +
                                    SmallRun::quoted(small_.run("first")) + " --output " + SmallRun::quoted(from));
    ASSERT_EQ(exported.code, 0) << exported.err;
    const auto weights_and_loss = [&](const std::string& layout) {
      const std::string name = dtype + " " + layout;
      const auto result =
          run_hadal(train("--model " + SmallRun::quoted(from) + " --steps 1 --threads 2 --set optim.lr=0 " +
                              "--set optim.weight_decay=0 --set train.bias_update_speed=0 " +
                              "--set train.precision=bf16 --set train.micro_batch_sequences=1 --layout " + layout,
                          name));
      EXPECT_EQ(result.code, 0) << layout << ": " << result.err;
      const fs::path run = small_.run(name);
      return std::pair(read_file(open_model(run).directory / "model.safetensors"),
                       steps_of(run).at(0)["loss"].get<double>());
    };
    const auto [weights, loss] = weights_and_loss("dp=1");
    for (const std::string layout : {"dp=2,ep=2", "cp=2,ep=2", "tp=2", "pp=2"}) {
      const auto [found_weights, found_loss] = weights_and_loss(layout);
      EXPECT_TRUE(found_weights == weights) << layout << " from " << dtype;
      // Tensor and context ranks add up in another order; experts and stages elsewhere change no bit.
      const bool same_order = layout == "dp=2,ep=2" || layout == "pp=2";
      EXPECT_NEAR(found_loss, loss, same_order ? 0 : 1e-3) << layout << " from " << dtype;
    }
  }
}

TEST_F(StartModel, ResumesWithoutTheDirectory) {
  ASSERT_EQ(run_hadal(train(model(), "whole")).code, 0);
  ASSERT_EQ(run_hadal(train(model() + "--stop-after 3")).code, 0);
  fs::rename(start(), small_.root() / "gone");
  const auto same_command = run_hadal(train(model() + "--stop-after 4"));
  ASSERT_EQ(same_command.code, 0) << same_command.err;
  const auto resumed = run_hadal("train " + SmallRun::quoted(small_.run("tuned")) + " --quiet");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.mlp.experts.2.up_proj.weight"}) {
    const Tensor whole = weight(small_.run("whole"), name), parts = weight(small_.run("tuned"), name);
    EXPECT_EQ(largest_difference(whole, parts), 0) << name;
    const Tensor first = TensorFiles::open(small_.root() / "gone").tensor(name);
    EXPECT_GT(largest_difference(first, parts), 0) << name;  // and it did learn
  }
}

TEST_F(StartModel, KeepsChatTemplatesThatAreFiles) {
  fs::create_directories(start() / "additional_chat_templates");
  atomic_write(start() / "chat_template.jinja", "say {{ messages[0].content }}");
  atomic_write(start() / "additional_chat_templates" / "rag.jinja", "look at {{ messages[0].content }}");
  ASSERT_EQ(run_hadal(train(model() + "--stop-after 2")).code, 0);
  ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small_.run("tuned")) + " --quiet --stop-after 3").code, 0);
  const fs::path exported = small_.root() / "exported";
  ASSERT_EQ(run_hadal("export --to hf --model " + SmallRun::quoted(small_.run("tuned")) + " --output " +
                      SmallRun::quoted(exported))
                .code,
            0);
  for (const fs::path& at : {small_.run("tuned"), exported}) {
    const std::string ask = "generate --show-prompt --message hi --model " + SmallRun::quoted(at);
    EXPECT_EQ(run_hadal(ask).out.substr(0, 7), "say hi\n");
    EXPECT_EQ(run_hadal(ask + " --chat-template rag").out.substr(0, 11), "look at hi\n");
  }
  const auto other = run_hadal(train("--set tokenizer.path=" + SmallRun::quoted(start()) +
                                         " --set model.n_layers=1 --set model.n_dense_layers=1 --steps 1",
                                     "other"));
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_TRUE(fs::exists(small_.run("other") / "tokenizer" / "chat_template.jinja"));
}

TEST_F(StartModel, WhereARunStartedFromIsNotToBeSaidAnew) {
  ASSERT_EQ(run_hadal(train(model() + "--stop-after 2")).code, 0);
  const auto started = [&](const fs::path& run) {
    return load_config((run / "config.toml").string()).train.start_model;
  };
  for (const char* run : {"first", "tuned"}) {
    const std::string before = started(small_.run(run));
    const auto said = run_hadal("train " + SmallRun::quoted(small_.run(run)) +
                                " --quiet --steps 9 --set train.start_model=" + SmallRun::quoted(small_.root()));
    EXPECT_EQ(said.code, 2) << said.err;
    EXPECT_NE(said.err.find("train.start_model"), std::string::npos) << said.err;
    EXPECT_EQ(started(small_.run(run)), before);
  }
  ASSERT_EQ(run_hadal("train " + SmallRun::quoted(small_.run("tuned")) + " --quiet").code, 0);
  EXPECT_EQ(started(small_.run("tuned")), fs::canonical(start()).string());
}

TEST_F(StartModel, AnotherModelSectionIsRefusedWithItsKeys) {
  const auto result = run_hadal(train(model() + "--set model.hidden_size=32"));
  EXPECT_EQ(result.code, 2);
  for (const char* part : {"model.hidden_size: 24 -> 32", "leave the section out"})
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(small_.run("tuned")));
  const auto equal =
      run_hadal("train " + SmallRun::quoted(small_.config()) + " --text " + SmallRun::quoted(small_.text()) +
                " --run " + SmallRun::quoted(small_.run("equal")) + " --quiet --steps 2 " + model());
  EXPECT_EQ(equal.code, 0) << equal.err;  // a section that says the same is fine
}

TEST_F(StartModel, WhatCannotBeUsedIsRefusedBeforeAnythingIsMade) {
  fs::remove(start() / "tokenizer.json");
  auto result = run_hadal(train(model()));
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("neither tokenizer.json nor"), std::string::npos) << result.err;
  result = run_hadal(train("--model " + SmallRun::quoted(small_.root() / "nowhere")));
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("nowhere"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(small_.run("tuned")));
}

TEST_F(StartModel, ARunThatStartedOtherwiseIsNotMixed) {
  ASSERT_EQ(run_hadal(train(model() + "--stop-after 2")).code, 0);
  const auto other = run_hadal("train " + SmallRun::quoted(small_.run("tuned")) + " --quiet --model " +
                               SmallRun::quoted(small_.run("first")));
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("this run started from"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace hadal
