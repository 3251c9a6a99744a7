// A directory as Moonlight and Kimi-K2 are downloaded (tiktoken.model, no tokenizer.json): text in, text out, training,
// export; and one whose files are all links.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/small_run.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// The 256 bytes in base64, by rank.
std::string byte_ranks() {
  static const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (int b = 0; b < 256; ++b)
    text += std::string{kDigits[b >> 2], kDigits[(b & 3) << 4], '=', '='} + " " + std::to_string(b) + "\n";
  return text;
}

class TiktokenDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_hadal(small_.train("run", "--steps 1")).code, 0);
    const std::string run = SmallRun::quoted(small_.run());
    ASSERT_EQ(run_hadal("export --model " + run + " --to hf --dtype fp32 -q --output " + quoted("kimi")).code, 0);
    const fs::path kimi = small_.run("kimi");
    fs::remove(kimi / "tokenizer.json");
    atomic_write(kimi / "tiktoken.model", byte_ranks());
    atomic_write(kimi / "tokenization_kimi.py", "# their code\n");
    atomic_write(kimi / "tokenizer_config.json",
                 R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": "[EOS]",
                     "added_tokens_decoder": {"256": {"content": "[BOS]", "special": true},
                                              "257": {"content": "[EOS]", "special": true}}})");
  }
  std::string quoted(const std::string& name) const { return SmallRun::quoted(small_.run(name)); }
  static void fine(const std::string& arguments, const std::string& part = "") {
    const auto result = run_hadal(arguments);
    EXPECT_EQ(result.code, 0) << arguments << "\n" << result.err;
    EXPECT_NE(result.out.find(part), std::string::npos) << result.out;
  }
  SmallRun small_;
};

TEST_F(TiktokenDirectory, TakesAndGivesText) {
  fine("generate --max-tokens 2 --prompt 'the sea' --model " + quoted("kimi"), "the sea");
  fine("inspect " + quoted("kimi"), "512 ids, 0 merges, 256 added tokens");
}

TEST_F(TiktokenDirectory, IsExportedWithWhatReadsIt) {
  fine("export --to hf --dtype fp32 --model " + quoted("kimi") + " --output " + quoted("hf"));
  for (const char* name : {"tiktoken.model", "tokenizer_config.json", "tokenization_kimi.py"})
    EXPECT_EQ(read_file(small_.run("hf") / name), read_file(small_.run("kimi") / name));
  fine("generate --max-tokens 2 --prompt 'the sea' --model " + quoted("hf"), "the sea");
  fine("export --to gguf --dtype fp32 --model " + quoted("kimi") + " --output " + quoted("gguf"), "1 file");
  fs::remove(small_.run("kimi") / "tokenization_kimi.py");
  const auto result =
      run_hadal("export --to hf --dtype fp32 --model " + quoted("kimi") + " --output " + quoted("without"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("tokenization_*.py"), std::string::npos) << result.err;
}

TEST_F(TiktokenDirectory, ARunTrainedWithItGoesOnAndSpeaks) {
  fine(small_.train("tuned", "--steps 1 --set data.fim_rate=0 --set tokenizer.path=" + quoted("kimi")));
  EXPECT_TRUE(fs::exists(small_.run("tuned") / "tokenizer" / "tiktoken.model"));
  EXPECT_FALSE(fs::exists(small_.run("tuned") / "tokenizer" / "tokenizer.json"));
  fs::remove_all(small_.run("kimi"));
  fine("train --quiet --steps 2 " + quoted("tuned"));
  fine("generate --max-tokens 2 --prompt 'the sea' --model " + quoted("tuned"), "the sea");
}

TEST_F(TiktokenDirectory, OfLinksIsAsGoodAsTheFiles) {
  const fs::path links = small_.run("links");
  fs::create_directory(links);
  for (const auto& item : fs::directory_iterator(small_.run("kimi")))
    fs::create_symlink(item.path(), links / item.path().filename());
  fine("generate --max-tokens 2 --prompt 'the sea' --model " + quoted("links"), "the sea");
  fine("export --to hf --dtype fp32 --model " + quoted("links") + " --output " + quoted("hf"), "1 file");
}

}  // namespace
}  // namespace hadal
