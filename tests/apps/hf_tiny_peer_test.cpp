// Directories that Hugging Face transformers wrote (tests/oracle/hf_tiny.py), given to --model as they are: our
// log-probabilities and greedy tokens are its own, and the engine's are the trainer's forward's.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apps/command.h"
#include "base/json.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One test, as every test is a process of its own and would make the models again.
class HuggingFaceDirectories : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (fs::temp_directory_path() / "hadal hf XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root_ = folder;
    const std::string source = HADAL_SOURCE_DIR;
    const std::string command = "'" + source + "/.venv/bin/python' '" + source + "/tests/oracle/hf_tiny.py' '" +
                                folder + "' > '" + folder + "/log' 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0) << read_file(root_ / "log");
  }
  void TearDown() override { fs::remove_all(root_); }

  json expected(const std::string& name) const { return read_json<json>(root_ / (name + ".json")); }
  std::string model(const std::string& name) const { return " --model '" + (root_ / name).string() + "' "; }

  // Largest difference of log-probabilities; `spread` receives how far the expected ones lie apart.
  double score_error(const std::string& name, const std::string& options, double& spread) const {
    const json wanted = expected(name);
    std::string lines;
    for (const auto& tokens : wanted["tokens"]) lines += json_text(json({{"tokens", tokens}})) + "\n";
    atomic_write(root_ / "lines", lines);
    const auto result = run_hadal("score" + model(name) + options + " --input '" + (root_ / "lines").string() + "'");
    EXPECT_EQ(result.code, 0) << name << ": " << result.err;
    std::istringstream out(result.out);
    double error = 0, low = 0, high = -1e9;
    std::string line;
    size_t count = 0;
    for (; std::getline(out, line); ++count) {
      const auto got = parse_json<json>(line, "a line")["logprobs"].get<std::vector<double>>();
      const auto right = wanted["logprobs"][count].get<std::vector<double>>();
      EXPECT_EQ(got.size(), right.size());
      if (got.size() != right.size()) return 1e9;
      for (size_t i = 0; i < got.size(); ++i) {
        error = std::max(error, std::fabs(got[i] - right[i]));
        low = std::min(low, right[i]), high = std::max(high, right[i]);
      }
    }
    EXPECT_EQ(count, wanted["tokens"].size());
    spread = high - low;
    return error;
  }

  void score_as_transformers_does() const;
  void generate_the_same_tokens() const;
  void serve_every_request_as_alone() const;
  void say_that_transformers_dropped_the_mtp_modules() const;
  void without_a_tokenizer_the_text_verbs_say_so() const;

  fs::path root_;
};

const char* const kCases[] = {"v3_one_file", "v3_shards",    "v3_fused_experts", "v3_bf16", "v3_fp16",
                              "v3_fp8",      "v3_fp8_ue8m0", "v2_groups",        "v2_lite"};

void HuggingFaceDirectories::score_as_transformers_does() const {
  for (const char* name : kCases) {
    for (const char* precision : {"fp32", "fp64"}) {
      double spread = 0;
      const double error = score_error(name, std::string("--precision ") + precision, spread);
      EXPECT_LE(error, 2e-4) << name << " " << precision;
      EXPECT_GE(spread, 1.0) << name;
    }
  }
}

void HuggingFaceDirectories::generate_the_same_tokens() const {
  for (const char* name : kCases) {
    const json wanted = expected(name)["greedy"];
    std::string prompt;
    for (const auto& id : wanted["prompt"]) prompt += (prompt.empty() ? "" : ",") + json_text(id);
    const auto result = run_hadal("generate" + model(name) + "--precision fp32 --max-tokens 12 --temperature 0 --json" +
                                  " --prompt-tokens " + prompt);
    ASSERT_EQ(result.code, 0) << name << ": " << result.err;
    EXPECT_EQ(parse_json<json>(result.out, "what it said")["tokens"], wanted["tokens"]) << name;
  }
}

void HuggingFaceDirectories::serve_every_request_as_alone() const {
  for (const std::string name : {"v3_one_file", "v3_bf16", "v3_fp8"}) {  // FP32, BF16, FP8
    for (const char* form : {"absorbed", "up_projected"}) {
      const auto result = run_hadal("check engine" + model(name) + "--quiet --json --attention-form " + form);
      EXPECT_EQ(result.code, 0) << name << " " << form << ": " << result.out << result.err;
      std::set<std::string> conditions;
      for (const json& one : parse_json<json>(result.out, "what it said")) {
        EXPECT_EQ(one["first"], "") << name << " " << form << ": " << one;
        EXPECT_GT(one["tokens"], 100) << one;
        conditions.insert(one["condition"]);
      }
      EXPECT_EQ(conditions.count("the trainer's forward") + conditions.count("preempted, blocks evicted"), 2u);
    }
  }
}

void HuggingFaceDirectories::say_that_transformers_dropped_the_mtp_modules() const {
  const auto result = run_hadal("generate" + model("v3_one_file") + "--prompt-tokens 5 --max-tokens 1 --json");
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.err.find("num_nextn_predict_layers = 1"), std::string::npos) << result.err;
}

void HuggingFaceDirectories::without_a_tokenizer_the_text_verbs_say_so() const {
  const auto result = run_hadal("generate" + model("v2_lite") + "--prompt hello");
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("neither tokenizer.json nor tiktoken.model; give token ids"), std::string::npos)
      << result.err;
  const auto scored = run_hadal("score" + model("v2_lite"), "echo '{\"text\": \"hello\"}' |");
  EXPECT_EQ(scored.code, 1);
  EXPECT_NE(scored.err.find("neither tokenizer.json nor tiktoken.model; give token ids"), std::string::npos)
      << scored.err;
}

TEST_F(HuggingFaceDirectories, AreScoredAndContinuedAsByTransformersAndSayWhatTheyLack) {
  score_as_transformers_does();
  generate_the_same_tokens();
  serve_every_request_as_alone();
  say_that_transformers_dropped_the_mtp_modules();
  without_a_tokenizer_the_text_verbs_say_so();
}

}  // namespace
}  // namespace hadal
