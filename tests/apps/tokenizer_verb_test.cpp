// hadal tokenizer through the shell: any bytes, lines, closed pipes, input that is not what it should be.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/json.h"

namespace hadal {
namespace {

using nlohmann::json;

std::string random_bytes(size_t n, uint64_t seed) {
  RandomStream random{seed, stream_id("test.bytes"), 0};
  std::string bytes(n, '\0');
  for (char& c : bytes) c = char(random.below(256));
  return bytes;
}

class TokenizerVerb : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto made = run_hadal("tokenizer train --quiet --input " + SmallRun::quoted(small_.text()) +
                                " --vocab-size 320 --output " + tok_);
    ASSERT_EQ(made.code, 0) << made.err;
  }
  CommandResult codec(const std::string& verb, const std::string& input, const std::string& more = "") {
    atomic_write(small_.root() / "in", input);
    return run_hadal("tokenizer " + verb + " --tokenizer " + tok_ + " " + more + " < " +
                     SmallRun::quoted(small_.root() / "in"));
  }
  SmallRun small_;
  std::string tok_ = SmallRun::quoted(small_.root() / "my tökenizer");
};

TEST_F(TokenizerVerb, AnyBytesSurviveEncodeAndDecode) {
  for (const std::string& bytes : {std::string(), std::string(1, '\0'), random_bytes(1, 1), random_bytes(5000, 2),
                                   small_text(50) + random_bytes(100, 3) + "\r\n\n"}) {
    const auto ids = codec("encode", bytes);
    ASSERT_EQ(ids.code, 0) << ids.err;
    EXPECT_TRUE(parse_json<json>(ids.out, "what it said").is_array());
    EXPECT_EQ(codec("decode", ids.out).out, bytes);
  }
}

TEST_F(TokenizerVerb, LinesGoInAndOutInOrder) {
  std::string lines, expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string line = json_text(json("the sea " + std::to_string(i) + "\n\"ü\""));
    lines += line + "\n";
  }
  const auto ids = codec("encode", lines, "--jsonl --threads 3");
  ASSERT_EQ(ids.code, 0) << ids.err;
  const auto back = codec("decode", ids.out, "--jsonl");
  EXPECT_EQ(back.out, lines);
}

TEST_F(TokenizerVerb, LinesAreReadAsPythonReadsThem) {
  const auto plain = codec("encode", "cut \xEF\xBF\xBD off");
  const auto cut = codec("encode", "\xEF\xBB\xBF\"cut \\ud83d off\"\n\"cut \\udead off\"\r\n", "--jsonl");
  EXPECT_EQ(cut.out, plain.out + plain.out) << cut.err;
  EXPECT_NE(cut.err.find("2 escapes of lone surrogates became U+FFFD"), std::string::npos) << cut.err;
  EXPECT_EQ(codec("encode", "\"caf\xe9\"\n", "--jsonl").out, codec("encode", "caf\xe9").out);
  EXPECT_EQ(codec("encode", "\"fine\"\n", "--jsonl").err, "");
}

TEST_F(TokenizerVerb, WrongInputIsOneLineThatNamesIt) {
  const auto wrong = [&](const CommandResult& result, const std::string& word) {
    EXPECT_EQ(result.code, 1) << result.err;
    EXPECT_EQ(result.err.rfind("hadal: error: ", 0), 0u) << result.err;
    EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
  };
  wrong(codec("encode", "\"fine\"\nnot json\n", "--jsonl"), "line 2");
  wrong(codec("decode", "[1, -5]"), "-5");
  EXPECT_EQ(codec("decode", "[1, 99999]").code, 2);
  wrong(codec("decode", "{}"), "array");
  wrong(codec("decode", "[1, 2"), "JSON");
  wrong(codec("decode", std::string(2'000'000, '[') + std::string(2'000'000, ']')),
        "nested");  // printing it would call itself a million times
  wrong(run_hadal("tokenizer encode --tokenizer /nowhere < /dev/null"), "/nowhere");
  std::string deep = "{\"model\": " + std::string(300'000, '[') + std::string(300'000, ']') + "}";
  atomic_write(small_.root() / "tokenizer.json", deep);
  wrong(run_hadal("tokenizer info --tokenizer " + SmallRun::quoted(small_.root() / "tokenizer.json")), "nested");
}

TEST_F(TokenizerVerb, EveryErrorOfALineNamesIt) {
  const auto id = codec("decode", "[1]\n\n[2,320]\n", "--jsonl");
  EXPECT_EQ(id.code, 2);
  EXPECT_NE(id.err.find("line 3 of the input: token id 320"), std::string::npos) << id.err;
  EXPECT_NE(id.err.find("0 .. 319"), std::string::npos) << id.err;
  EXPECT_NE(codec("decode", "[999]").err.find("the input: token id 999"), std::string::npos);
  const auto full = codec("encode", "\"a\"\n\"b\"\n", "--jsonl > /dev/full");
  EXPECT_EQ(full.code, 1);
  EXPECT_NE(full.err.find("line 2 of the input"), std::string::npos) << full.err;
}

TEST_F(TokenizerVerb, BlankLinesArePassedOverAsInEveryVerb) {
  EXPECT_EQ(codec("encode", "\n\"a\"\n \t\r\n\"b\"\n\n", "--jsonl").out,
            codec("encode", "\"a\"\n\"b\"", "--jsonl").out);
  EXPECT_EQ(codec("decode", "\n[70]\n  \n[71]\n", "--jsonl").out, codec("decode", "[70]\n[71]", "--jsonl").out);
}

TEST_F(TokenizerVerb, WhatWasEncodedBeforeABadLineIsPrinted) {
  std::string good;
  for (int i = 0; i < 300; ++i) good += "\"the sea " + std::to_string(i) + "\"\n";
  const auto whole = codec("encode", good, "--jsonl");
  const auto cut = codec("encode", good + "oops\n\"more\"\n17\n", "--jsonl --threads 3");
  EXPECT_EQ(cut.code, 1);
  EXPECT_EQ(cut.out, whole.out);
  EXPECT_NE(cut.err.find("line 301 of the input"), std::string::npos) << cut.err;
  const auto ids = codec("decode", whole.out + "[1,]\n", "--jsonl");
  EXPECT_EQ(ids.out, good);
  EXPECT_NE(ids.err.find("line 301 of the input"), std::string::npos) << ids.err;
}

TEST_F(TokenizerVerb, AReaderThatLeavesEndsTheWorkWithoutAWord) {
  const auto result =
      run_hadal("tokenizer encode --jsonl --tokenizer " + tok_ + "; echo code $? >&2; } | head -c 5 > /dev/null",
                "{ yes '\"the sea is deep\"' | head -n 400000 |");
  EXPECT_EQ(result.err, "code 141\n");  // as of any tool: the signal SIGPIPE
}

TEST_F(TokenizerVerb, ATokenizerIsNotReplacedUnasked) {
  const std::string again =
      "tokenizer train --quiet --input " + SmallRun::quoted(small_.text()) + " --vocab-size 300 --output " + tok_;
  const auto refused = run_hadal(again);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("--overwrite"), std::string::npos) << refused.err;
  EXPECT_EQ(run_hadal(again + " --overwrite").code, 0);
}

}  // namespace
}  // namespace hadal
