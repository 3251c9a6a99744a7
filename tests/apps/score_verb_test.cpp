// hadal score with texts, lines and directories that a careless or hostile user gives.
#include <nlohmann/json.hpp>

#include "apps/model_verbs.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

using nlohmann::json;
using ScoreVerb = ModelVerbs;

// Every token is scored once, in the window that leaves it the most context; the windows are those that were said.
TEST_F(ScoreVerb, ReadsTextsThatAreLongerThanTheModelInWindows) {
  const auto tokens_of = [](int64_t begin, int64_t end) {
    nlohmann::json ids = nlohmann::json::array();
    for (int64_t i = begin; i < end; ++i) ids.push_back(10 + i * 37 % 250);
    return ids;
  };
  const auto scored = [](const nlohmann::json& ids, const std::string& more = "") {
    atomic_write(small_->root() / "long", json_text(nlohmann::json{{"tokens", ids}}) + "\n");
    const auto said = verb("score", "--input " + SmallRun::quoted(small_->root() / "long") + " " + more);
    EXPECT_EQ(said.code, 0) << said.err;
    return parse_json<nlohmann::json>(said.out, "what it said");
  };
  const auto whole = scored(tokens_of(0, 65));  // 64 positions and a target: one window
  EXPECT_FALSE(whole.contains("windows"));
  const auto longer = scored(tokens_of(0, 150), "--stride 40");
  EXPECT_EQ(longer["stride"], 40);
  EXPECT_EQ(longer["windows"], 4);
  ASSERT_EQ(longer["logprobs"].size(), 149u);
  const auto second = scored(tokens_of(40, 105));
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(longer["logprobs"][i], whole["logprobs"][i]) << i;
  for (size_t i = 64; i < 104; ++i) EXPECT_EQ(longer["logprobs"][i], second["logprobs"][i - 40]) << i;
  EXPECT_EQ(scored(tokens_of(0, 150))["stride"], 32);
  refused(verb("score", "--stride 65"), 2, {"--stride 65", "64 positions"});
}

TEST_F(ScoreVerb, NamesTheLineThatIsWrong) {
  const auto with = [](const std::string& lines) {
    atomic_write(small_->root() / "lines", lines);
    return verb("score", "--input " + SmallRun::quoted(small_->root() / "lines") + " --output " +
                             SmallRun::quoted(small_->root() / "scores"));
  };
  refused(with("{\"tokens\": [1, 2]}\nnonsense\n"), 2, {"line 2"});
  EXPECT_FALSE(std::filesystem::exists(small_->root() / "scores"));  // complete or absent
  refused(with("{\"tokens\": [1, 300]}\n"), 2, {"300", "299"});
  refused(with("{\"tokens\": [1, 18446744073709551615]}\n"), 2, {"18446744073709551615"});
  refused(with("{\"tokens\": []}\n"), 2, {"no tokens"});
  refused(with("{\"tokens\": [" + std::string(500'000, '[') + std::string(500'000, ']') + "]}\n"), 2, {"nested"});
  refused(verb("score", "--input " + SmallRun::quoted(small_->root())), 2, {"directory"});
  const auto fine = with("\n{\"tokens\": [7]}\n{\"text\": \"\"}\n{\"text\": \"the \xc3\xbc\"}\n");
  EXPECT_EQ(fine.code, 0) << fine.err;
}

TEST_F(ScoreVerb, WhatWasScoredBeforeABadLineIsKept) {
  const std::string good = "{\"text\": \"the sea\"}\n";
  atomic_write(small_->root() / "lines", good + good + "nonsense\n" + good);
  const std::string input = "--input " + SmallRun::quoted(small_->root() / "lines");
  const auto printed = verb("score", input);
  EXPECT_EQ(printed.code, 2);
  EXPECT_EQ(std::count(printed.out.begin(), printed.out.end(), '\n'), 2);
  EXPECT_NE(printed.err.find("line 3"), std::string::npos) << printed.err;
  const auto output = small_->root() / "kept", partial = small_->root() / "kept.partial";
  const auto filed = verb("score", input + " --output " + SmallRun::quoted(output));
  EXPECT_EQ(filed.code, 2);
  EXPECT_NE(filed.err.find("line 3"), std::string::npos) << filed.err;
  EXPECT_NE(filed.err.find("kept.partial"), std::string::npos) << filed.err;
  EXPECT_FALSE(std::filesystem::exists(output));
  EXPECT_EQ(read_file(partial), printed.out);
  atomic_write(small_->root() / "lines", good);
  EXPECT_EQ(verb("score", input + " --output " + SmallRun::quoted(output)).code, 0);
  EXPECT_FALSE(std::filesystem::exists(partial));
  EXPECT_EQ(printed.out, read_file(output) + read_file(output));
}

TEST_F(ScoreVerb, AFullDiskIsNamedWithTheLine) {
  const std::string lines = R"(printf '{"text":"a b"}\n\n{"text":"c"}\n' |)";
  const std::string score = "score --quiet --model " + SmallRun::quoted(small_->run());
  refused(run_hadal(score + " > /dev/full", lines), 1, {"standard input: line 1: cannot write", "standard output"});
  const auto out = SmallRun::quoted(small_->root() / "out");
  refused(run_hadal(score + " --output " + out, "ulimit -f 1; yes '{\"text\":\"a b c d\"}' | head -n 99 |"), 1,
          {"standard input: line ", ": cannot write", "out.partial"});
}

TEST_F(ScoreVerb, ReadsLinesAsPythonReadsThem) {
  const auto scored = [](const std::string& line) {
    atomic_write(small_->root() / "lines", line + "\n");
    const auto result = verb("score", "--input " + SmallRun::quoted(small_->root() / "lines"));
    EXPECT_EQ(result.code, 0) << line << result.err;
    return result.code == 0 ? parse_json<json>(result.out, "what it said") : json();
  };
  const auto plain = scored(R"({"text": "the sea"})");
  EXPECT_FALSE(plain.contains("replaced"));
  for (const char* line : {R"({"text": "the sea", "id": 340282366920938463463374607431768211456, "x": 1e400})",
                           R"({"x": [NaN, -Infinity, "\udead"], "text": "the sea"})",
                           R"({"text": "the cold", "tokens": [5], "text": "the sea"})"})
    EXPECT_EQ(scored(line), plain) << line;
  const auto cut = scored(R"({"text": "the \ud83d sea"})"), whole = scored("{\"text\": \"the \xEF\xBF\xBD sea\"}");
  EXPECT_EQ(cut["tokens"], whole["tokens"]);
  EXPECT_EQ(cut["replaced"], 1);
  EXPECT_EQ(scored(R"({"tokens": [5, 6], "tokens": [7, 8]})")["tokens"], json({7, 8}));
  EXPECT_EQ(scored("\xEF\xBB\xBF{\"text\": \"the sea\"}"), plain);
  refused(verb("score", "", "printf '\\377\\376{\\0' |"), 2, {"UTF-16", "iconv -f UTF-16"});
  EXPECT_TRUE(scored(R"({"text": ""})")["bits_per_byte"].is_null());  // of nothing there is none
}

}  // namespace
}  // namespace hadal
