// What is wrong is named with what would be right, for commands that cannot do what they are asked.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/small_run.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class Messages : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    small_ = new SmallRun;
    ASSERT_EQ(run_hadal(small_->train("run", "--steps 2")).code, 0);
  }
  static void TearDownTestSuite() { delete small_; }

  static std::string q(const fs::path& path) { return SmallRun::quoted(path); }
  // The run under another name, for what harms it.
  static fs::path copy(const std::string& name) {
    fs::copy(small_->run(), small_->run(name), fs::copy_options::recursive);
    return small_->run(name);
  }
  static void refused(const std::string& command, int code, const std::vector<std::string>& parts) {
    const auto result = run_hadal(command);
    EXPECT_EQ(result.code, code) << command << "\n" << result.err;
    for (const std::string& part : parts)
      EXPECT_NE(result.err.find(part), std::string::npos) << part << "\n" << result.err;
  }
  static std::string build(const std::string& text) {
    return "data build " + q(small_->config()) + " --quiet --set run=" + q(small_->run("built")) + " --text " + text;
  }
  static inline SmallRun* small_ = nullptr;
};

TEST_F(Messages, SettingsThatDecideTheTokensOfARunAreNamed) {
  const std::string run = q(small_->run());
  const std::vector<std::string> ways = {"other settings", "leave it out", "--run NEW"};
  const auto with = [&](const std::string& key) {
    auto parts = ways;
    parts.push_back(key + ": ");
    return parts;
  };
  refused("train " + run + " --set tokenizer.path=" + q(small_->run() / "tokenizer"), 2, with("tokenizer.path"));
  refused("data build " + run + " --set data.holdout=hash", 2, with("data.holdout"));
  refused("data build " + run + " --set tokenizer.vocab_size=280", 2, with("tokenizer.vocab_size"));
  refused("data explain " + run + " --set data.sources.0.text_field=x", 2, with("data.sources.0.text_field"));
  EXPECT_EQ(run_hadal("data explain " + run + " --set data.fim_rate=1 --quiet").code, 0);
}

TEST_F(Messages, WhatARunLacksIsFoundInItsCheckpoints) {
  const fs::path bare = copy("bare"), foreign = copy("foreign");
  fs::remove(bare / "config.toml");
  refused("train " + q(bare), 1, {"config.toml is missing", (bare / "checkpoints/step_00000002/config.toml").string()});
  ASSERT_EQ(run_hadal("tokenizer train --quiet --vocab-size 290 --input " + q(small_->text()) + " --output " +
                      q(small_->root() / "tok"))
                .code,
            0);
  for (const char* at : {"tokenizer", "data/tokenizer"})
    fs::copy(small_->root() / "tok", foreign / at, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  refused("train " + q(foreign) + " --quiet --steps 3", 2, {(foreign / "tokenizer").string(), "checkpoints/step_N"});
}

TEST_F(Messages, ADamagedShardWithoutItsTextIsMendedByTheTextAlone) {
  const fs::path run = copy("damaged"), text = small_->text(), away = small_->root() / "away.txt";
  fs::rename(text, away);
  for (const auto& entry : fs::directory_iterator(run / "data/shards"))
    if (entry.path().extension() == ".shard") fs::resize_file(entry.path(), fs::file_size(entry.path()) - 1);
  for (const std::string verb : {"train ", "data build "}) {
    refused(verb + q(run), 1, {"is damaged", text.string(), "put it back", "--text"});
    EXPECT_EQ(run_hadal(verb + q(run)).err.find("run `hadal data build`"), std::string::npos);
  }
  EXPECT_EQ(run_hadal("data build " + q(run) + " --quiet --text " + q(away)).code, 0);
  fs::rename(away, text);
}

TEST_F(Messages, TextIsNamedInAWayThatCanBeRead) {
  refused(build("-"), 2, {"--text -", "write it to a file"});
  refused(small_->train("other", "--text -"), 2, {"--text -", "write it to a file"});
  for (const char* folder : {"a", "b"}) {
    fs::create_directory(small_->root() / folder);
    fs::copy(small_->text(), small_->root() / folder / "x.txt");
  }
  refused(build(q(small_->root() / "a/x.txt") + " " + q(small_->root() / "b/x.txt")), 2,
          {"--set data.sources.1.name=NAME"});
  atomic_write(small_->root() / "q.jsonl", "{\"question\":\"hi\"}\n");
  refused(build(q(small_->root() / "q.jsonl")), 1, {"question", "--set data.sources.0.text_field="});
  fs::create_directory(small_->root() / "pdf");
  atomic_write(small_->root() / "pdf/a", "%PDF-1.4\n");
  refused(build(q(small_->root() / "pdf")), 2, {"passed over: 1 PDF document"});
  atomic_write(small_->root() / "pdf/b", "%PDF-1.4\n");
  refused(build(q(small_->root() / "pdf")), 2, {"passed over: 2 PDF documents"});
}

TEST_F(Messages, NumbersAndIdsAreNamedWithTheirRange) {
  const std::string run = q(small_->run());
  refused("report " + run + " " + run + " " + run, 2, {"3 were given, 1 to 2 are wanted"});
  refused("trace --model " + run + " --tokens 5,999 --output /dev/null", 2, {"--tokens: token id 999", "0 .. 299"});
}

TEST_F(Messages, AKeyIsSaidOnce) {
  refused("train " + q(small_->run()) + " --set optim.lr=1 --change optim.lr=2", 2,
          {"optim.lr", "--set", "--change", "leave one"});
}

TEST_F(Messages, APromptFileIsReadBehindItsMark) {
  const fs::path file = small_->root() / "prompt.txt";
  const std::string show = "generate --show-prompt --model " + q(small_->run()) + " --prompt-file " + q(file);
  atomic_write(file, "the sea");
  const auto plain = run_hadal(show);
  atomic_write(file, "\xEF\xBB\xBFthe sea");
  EXPECT_EQ(run_hadal(show).out, plain.out);
  atomic_write(file, std::string("\xFF\xFEt\0", 4));
  refused(show, 2, {"UTF-16", "iconv"});
}

TEST_F(Messages, AModelThatTransformersCannotReadIsTrainedWithANote) {
  const std::string rules = " --set model.score_function=softmax --set model.selection_bias=false --steps 1 --run ";
  const std::string train = "train " + q(small_->config()) + " --text " + q(small_->text()) + rules;
  const auto noted = run_hadal(train + q(small_->run("noted")) + " --set model.normalize_top_k=true");
  EXPECT_EQ(noted.code, 0);
  EXPECT_NE(noted.err.find("normalize_top_k = true"), std::string::npos) << noted.err;
  EXPECT_NE(noted.err.find("--to hf"), std::string::npos) << noted.err;
  const auto fine = run_hadal(train + q(small_->run("fine")) + " --set model.normalize_top_k=false");
  EXPECT_EQ(fine.err.find("--to hf"), std::string::npos) << fine.err;
}

}  // namespace
}  // namespace hadal
