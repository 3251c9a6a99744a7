// hadal export as a user runs it: a trained run taken away and used again, and every refusal in one line.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ExportVerb : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    small_ = std::make_unique<SmallRun>();
    if (run_hadal(small_->train("run", "--steps 2")).code != 0) small_.reset();
  }
  static void TearDownTestSuite() { small_.reset(); }
  void SetUp() override { ASSERT_TRUE(small_) << "training failed"; }

  static CommandResult take(const std::string& rest, const std::string& output, const std::string& before = "") {
    return run_hadal("export --model " + SmallRun::quoted(small_->run()) + " --output " +
                         SmallRun::quoted(small_->run(output)) + " " + rest,
                     before);
  }
  static void refused(const CommandResult& result, int code, std::initializer_list<std::string> words) {
    EXPECT_EQ(result.code, code) << result.out << result.err;
    EXPECT_EQ(result.out, "");
    const auto error = result.err.find("hadal: error:");
    ASSERT_NE(error, std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin() + std::ptrdiff_t(error), result.err.end(), '\n'), 1) << result.err;
    for (const auto& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << "'" << word << "' is not in: " << result.err;
  }
  static std::string greedy(const std::string& model) {
    const auto result = run_hadal("generate --model " + SmallRun::quoted(small_->run(model)) +
                                  " --prompt-tokens 5,6,7 --max-tokens 20 --temperature 0 --precision fp32 --json");
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }
  static std::unique_ptr<SmallRun> small_;
};
std::unique_ptr<SmallRun> ExportVerb::small_;

TEST_F(ExportVerb, ARunTakenAwayIsReadBackAndSaysTheSame) {
  const auto result = take("--to hf --dtype fp32 --quiet", "away");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("1 file"), std::string::npos) << result.out;
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"})
    EXPECT_TRUE(fs::exists(small_->run("away") / name)) << name;
  EXPECT_EQ(read_file(small_->run("away") / "tokenizer.json"),
            read_file(locate_model(small_->run()).directory / "tokenizer.json"));
  EXPECT_EQ(greedy("away"), greedy("run"));
  const auto config = read_json<json>(small_->run("away") / "config.json");
  EXPECT_EQ(config["num_nextn_predict_layers"], 1);
  const auto generation = read_json<json>(small_->run("away") / "generation_config.json");
  EXPECT_EQ(generation["eos_token_id"], config["eos_token_id"]);
  ASSERT_TRUE(generation["eos_token_id"].is_number());

  const auto again = run_hadal("export --model " + SmallRun::quoted(small_->run("away")) + " --output " +
                               SmallRun::quoted(small_->run("again")) + " --to hf --dtype fp32 -q");
  ASSERT_EQ(again.code, 0) << again.err;
  for (const char* name : {"model.safetensors", "config.json", "generation_config.json", "tokenizer_config.json"})
    EXPECT_EQ(read_file(small_->run("again") / name), read_file(small_->run("away") / name)) << name;
}

// What a run was trained with stands before a text of the exported model too, here and in transformers.
TEST_F(ExportVerb, ARunTrainedWithBosTellsOthersToPutItBeforeTexts) {
  ASSERT_EQ(run_hadal(small_->train("with_bos", "--steps 2 --set data.add_bos=true")).code, 0);
  const auto away = [&](const std::string& from, const std::string& output, const std::string& to) {
    return run_hadal("export --model " + SmallRun::quoted(small_->run(from)) + " --output " +
                     SmallRun::quoted(small_->run(output)) + " --quiet --to " + to);
  };
  ASSERT_EQ(away("with_bos", "bos_away", "hf --dtype fp32").code, 0);
  const auto score = [&](const std::string& model) {
    const auto result = run_hadal(
        "score --precision fp32 --attention-form up_projected --quiet --model " + SmallRun::quoted(small_->run(model)),
        "echo '{\"text\": \"one two\"}' |");
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  };
  EXPECT_EQ(score("bos_away"), score("with_bos"));
  const json config = read_json<json>(small_->run("bos_away") / "tokenizer_config.json");
  EXPECT_EQ(config["add_bos_token"], true);
  ASSERT_EQ(away("bos_away", "bos_again", "hf --dtype fp32").code, 0);
  for (const char* const name : {"tokenizer.json", "tokenizer_config.json"})
    EXPECT_EQ(read_file(small_->run("bos_again") / name), read_file(small_->run("bos_away") / name)) << name;
  const std::string python = HADAL_SOURCE_DIR "/.venv/bin/python";
  if (!fs::exists(python)) return;
  const auto theirs =
      run_hadal("version > /dev/null; '" + python +
                "' -c \"from tokenizers import Tokenizer; import sys; t = Tokenizer.from_file(sys.argv[1]); "
                "print(t.encode('one two').ids[0], t.encode('one', 'two').ids.count(0))\" " +
                SmallRun::quoted(small_->run("bos_away") / "tokenizer.json"));
  EXPECT_EQ(theirs.out, "0 2\n") << theirs.err;
}

TEST_F(ExportVerb, ChatTemplatesInFilesOfTheirOwnGoAlong) {
  ASSERT_EQ(take("--to hf --dtype fp32 --quiet", "templates").code, 0);
  const fs::path from = small_->run("templates"), more = from / "additional_chat_templates";
  fs::create_directory(more);
  atomic_write(from / "chat_template.jinja", "own");
  atomic_write(more / "tool_use.jinja", "tools");
  atomic_write(more / "rag.jinja", "rag");
  const auto again = run_hadal("export --model " + SmallRun::quoted(from) + " --output " +
                               SmallRun::quoted(small_->run("templates again")) + " --to hf --dtype fp32 -q");
  ASSERT_EQ(again.code, 0) << again.err;
  for (const char* name :
       {"chat_template.jinja", "additional_chat_templates/tool_use.jinja", "additional_chat_templates/rag.jinja"})
    EXPECT_EQ(read_file(small_->run("templates again") / name), read_file(from / name)) << name;
}

TEST_F(ExportVerb, EveryTypeIsWrittenAndWhatGgufLacksIsSaid) {
  for (const char* dtype : {"bf16", "fp8"}) {
    const auto result = take(std::string("--to hf --dtype ") + dtype, std::string("hf ") + dtype);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_NE(greedy(std::string("hf ") + dtype).find("tokens"), std::string::npos);
  }
  for (const char* dtype : {"bf16", "fp32", "q8_0", "q4_0"}) {
    const auto result = take(std::string("--to gguf --dtype ") + dtype, std::string("gguf ") + dtype);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_NE(result.err.find("multi-token prediction"), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find("no tokenizer"), std::string::npos) << result.err;
    EXPECT_TRUE(fs::exists(small_->run(std::string("gguf ") + dtype) / fmt::format("model-{}.gguf", dtype)));
  }
}

TEST_F(ExportVerb, WrongUseIsRefusedBeforeAnythingIsWritten) {
  refused(take("--to hf --dtype q4_0", "no"), 2, {"--to hf", "q4_0", "bf16, f16, fp32, fp8"});
  refused(take("--to gguf --dtype fp8", "no"), 2, {"--to gguf", "bf16, f16, fp32, q8_0, q4_0"});
  refused(take("--to onnx", "no"), 2, {"onnx", "gguf"});
  refused(take("--to hf --dtype int3", "no"), 2, {"int3"});
  refused(take("--to hf --shard-size 5parsecs", "no"), 2, {"--shard-size"});
  refused(take("--to hf --shard-size -5", "no"), 2, {"--shard-size"});
  refused(run_hadal("export --to hf --output x"), 2, {"--model"});
  refused(run_hadal("export --model " + SmallRun::quoted(small_->run()) + " --to hf"), 2, {"--output"});
  refused(run_hadal("export --model /nowhere --to hf --output x"), 1, {"/nowhere"});
  EXPECT_FALSE(fs::exists(small_->run("no")));
  refused(take("--to hf", "run"), 2, {"not empty"});
  refused(take("--to hf", "small.toml"), 2, {"a file"});
  refused(take("--to hf", "small.toml/below"), 1, {"small.toml"});
}

TEST_F(ExportVerb, AReadOnlyPlaceIsNamed) {
  if (geteuid() == 0) {  // whom no mode stops
    refused(take("--to hf -q", "../../proc/hadal"), 1, {"proc/hadal"});
    return;
  }
  const auto place = small_->run("sealed");
  make_directories(place);
  fs::permissions(place, fs::perms::owner_read | fs::perms::owner_exec);
  refused(take("--to hf -q", "sealed/below"), 1, {"sealed/below"});
}

TEST_F(ExportVerb, AFullDiskLeavesWhatTheNextRunContinues) {
  const std::string options = "--to hf --dtype bf16 --shard-size 10KB --quiet";
  ASSERT_EQ(take(options, "whole").code, 0);
  // In blocks of 512 or 1024 bytes as the shell likes; either way too little for the shard with the embedding.
  refused(take(options, "cut", "ulimit -f 12;"), 1, {"model-0"});
  EXPECT_FALSE(fs::exists(small_->run("cut") / "config.json"));
  refused(take("--to hf --dtype fp32 --shard-size 10KB --quiet", "cut"), 2, {"unfinished export", "bf16"});
  EXPECT_EQ(take(options, "cut").code, 0);
  int compared = 0;
  for (const auto& item : fs::directory_iterator(small_->run("whole"))) {
    EXPECT_EQ(read_file(item.path()), read_file(small_->run("cut") / item.path().filename())) << item.path();
    ++compared;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(small_->run("cut")), fs::directory_iterator()), compared);
}

}  // namespace
}  // namespace hadal
