// Fine-tuning on dialogues as users do it: from a file of chats to a model that is talked to as it was trained,
// interrupted and resumed with the same bits, on several ranks, and with what is wrong said in one line.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "config/config_io.h"
#include "exchange/model_directory.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

std::vector<double> step_losses(const fs::path& run) {
  std::vector<double> losses;
  for (const auto& step : steps_of(run)) losses.push_back(step["loss"].get<double>());
  return losses;
}

class DialogueRun : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_hadal(small_.train("base", "--steps 3")).code, 0);
    std::string chats;
    for (int i = 0; i < 60; ++i)
      chats += "{\"messages\": [{\"role\": \"user\", \"content\": \"is it " + std::to_string(i) +
               "?\"}, {\"role\": \"assistant\", \"content\": \"" + std::string(size_t(i % 7), 'a') + "\"}]}\n";
    atomic_write(small_.root() / "chats.jsonl", chats);
    atomic_write(small_.root() / "tune.toml",
                 "[data]\nsequence_length = 48\ndocument_mask = \"document\"\nat_end = \"stop\"\nepochs = 2\n"
                 "holdout_fraction = 0.1\n[[data.sources]]\npaths = [\"" +
                     (small_.root() / "chats.jsonl").string() +
                     "\"]\nformat = \"messages\"\n[train]\nsteps = 0\nbatch_sequences = 4\nprecision = \"fp32\"\n"
                     "[optim]\nlr = 0.001\n[validation]\nsamples = 0\n");
  }
  CommandResult tune(const std::string& run, const std::string& more = "") const {
    return run_hadal("train " + SmallRun::quoted(small_.root() / "tune.toml") + " --model " +
                     SmallRun::quoted(small_.run("base")) + " --run " + SmallRun::quoted(small_.run(run)) + " " + more);
  }
  std::string weights(const std::string& run) const {
    return sha256_hex(read_file(open_model(small_.run(run)).directory / "model.safetensors"));
  }
  SmallRun small_;
};

TEST_F(DialogueRun, TrainsEveryEpochAndCarriesTheTemplateAndGoesOnWithTheSameBits) {
  const CommandResult whole = tune("whole");
  ASSERT_EQ(whole.code, 0) << whole.err;
  for (const char* part : {"dialogues are written with DeepSeek-V3's chat template", "tok/s trained, padding",
                           "epoch 2/2", "begins epoch 2", "validation at step"})
    EXPECT_NE(whole.err.find(part), std::string::npos) << part << "\n" << whole.err;
  const Config stored = load_config((small_.run("whole") / "config.toml").string());
  EXPECT_GT(stored.train.steps, 4);
  EXPECT_TRUE(fs::exists(small_.run("whole") / "tokenizer" / "chat_template.jinja"));
  EXPECT_TRUE(fs::exists(open_model(small_.run("whole")).directory / "chat_template.jinja"));
  ASSERT_EQ(tune("parts", "--stop-after 2 --quiet").code, 0);
  ASSERT_EQ(tune("parts", "--quiet").code, 0);
  EXPECT_EQ(weights("parts"), weights("whole"));
  const CommandResult chat =
      run_hadal("generate --model " + SmallRun::quoted(small_.run("whole")) + " --message hello --max-tokens 4");
  EXPECT_EQ(chat.code, 0) << chat.err;
}

TEST_F(DialogueRun, SeveralRanksFindTheSameLosses) {
  ASSERT_EQ(tune("one", "--quiet --set train.precision=fp64 --set train.micro_batch_sequences=1").code, 0);
  const auto alone = step_losses(small_.run("one"));
  ASSERT_GT(alone.size(), 4u);
  for (const char* layout : {"dp=2", "pp=2", "cp=2"}) {
    const CommandResult shared = tune(layout, std::string("--quiet --set train.precision=fp64 --set ") +
                                                  "train.micro_batch_sequences=1 --layout " + layout);
    ASSERT_EQ(shared.code, 0) << shared.err;
    const auto theirs = step_losses(small_.run(layout));
    ASSERT_EQ(theirs.size(), alone.size()) << layout;
    for (size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(theirs[i], alone[i], 1e-9) << layout << ", step " << i + 1;
  }
}

TEST_F(DialogueRun, WhatIsWrongIsSaidInOneLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"--set data.document_mask=none", "set data.document_mask = \"document\""},
      {"--set data.sequence_length=5", "are longer than data.sequence_length = 5"},
      {"--set data.sequence_length=9 --set data.on_long=stop", "they are never cut"},
      {"--set data.at_end=next_epoch", "data.epochs = 2 says"},
      {"--set data.at_end=next_epoch --set data.epochs=1", "train.steps = 0 takes as many steps"},
      {"--set data.sources.0.format=alpaca", "there is no 'instruction' (fields: messages)"},
      {"--set data.sources.0.format=chats", "text, alpaca, messages, sharegpt, prompt_completion"},
      {"--set data.chat_template=nowhere", "data.chat_template = \"nowhere\" is no file and none of"},
  };
  for (const auto& [how, why] : cases) {
    const CommandResult result = tune("wrong", std::string("--fresh --quiet ") + how);
    EXPECT_NE(result.code, 0) << how;
    EXPECT_NE(result.err.find(why), std::string::npos) << how << ": " << result.err;
  }
}

TEST_F(DialogueRun, CheckAndExplainShowWhatWillBeTrained) {
  const std::string model = " --model " + SmallRun::quoted(small_.run("base"));
  const CommandResult checked = run_hadal("data check " + SmallRun::quoted(small_.root() / "chats.jsonl") + model);
  EXPECT_EQ(checked.code, 0) << checked.err;
  for (const char* part : {"a sequence has 64 tokens", "60 dialogues (messages)", "empty answer", "is trained on"})
    EXPECT_NE(checked.out.find(part), std::string::npos) << part << "\n" << checked.out;
  atomic_write(small_.root() / "bad.jsonl", "{\"messages\": 1}\n{\"messages\": 2}\n");
  const CommandResult bad =
      run_hadal("data check " + SmallRun::quoted(small_.root() / "bad.jsonl") + model + " --format messages");
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.out.find("line 2: bad line: 'messages' is 2"), std::string::npos) << bad.out;
  atomic_write(small_.root() / "asked.jsonl",
               "{\"messages\": [{\"role\": \"user\", \"content\": \"What is the NAME of that ship\"}, "
               "{\"role\": \"assistant\", \"content\": \"x\"}]}\n");
  atomic_write(small_.root() / "test.jsonl", "{\"question\": \"What is the name of that ship?\"}\n");
  const CommandResult held = run_hadal("data check " + SmallRun::quoted(small_.root() / "asked.jsonl") + model +
                                       " --against " + SmallRun::quoted(small_.root() / "test.jsonl"));
  EXPECT_EQ(held.code, 0) << held.err;
  for (const char* part : {"held against 1 evaluation item of 1 file", "line 1: contaminated: shares 7 words with"})
    EXPECT_NE(held.out.find(part), std::string::npos) << part << "\n" << held.out;
  ASSERT_EQ(tune("shown", "--quiet").code, 0);
  const CommandResult shown = run_hadal("data explain " + SmallRun::quoted(small_.run("shown")) + " --tokens");
  EXPECT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"trained", "segment 1", "MTP 1", "|<｜Assistant｜>|"})
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
}

}  // namespace
}  // namespace hadal
