// Our tokenizer files in the hands of Hugging Face `tokenizers`, and its trainer beside ours.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

using SortedJson = nlohmann::json;
using testing::TempDir;

void run_peer(const std::string& arguments) {
  const std::string root = HADAL_SOURCE_DIR;
  const std::string command =
      "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/tokenizer_peer.py' " + arguments;
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

std::string quoted(const std::string& path) { return "'" + path + "'"; }

void write_lines(const std::string& path, const std::vector<std::string>& texts) {
  std::ofstream file(path, std::ios::binary);
  for (const std::string& text : texts) file << json_text(SortedJson(text)) << "\n";
}

std::vector<std::string> varied_texts() {
  std::vector<std::string> texts = {"",
                                    " ",
                                    "\n",
                                    "a",
                                    "Hello, world!\n",
                                    std::string(5000, ' ') + "x",
                                    std::string(5000, 'a'),
                                    std::string("\0\1\2\x7f", 4),
                                    "<｜User｜>1 + 1<｜Assistant｜>2<think></think>",
                                    "<|EOT|><｜fim▁hole｜>"};
  for (const TextSample& sample : text_samples()) texts.emplace_back(sample.text);
  for (uint64_t seed = 0; seed < 300; ++seed) texts.push_back(testing::random_text(seed, 20 + int64_t(seed) * 3));
  std::string every;  // every code point alone, between letters, behind a blank and before a digit
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string one;
    if (c < 0x80) {
      one = char(c);
    } else if (c < 0x800) {
      one = {char(0xC0 | c >> 6), char(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      one = {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    } else {
      one = {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    }
    if (c >= 0x40000 && c < 0xE0000) continue;  // planes without a character
    if (c >= 0xF0000 && c % 997) continue;      // private use
    every += one + "a" + one + "b " + one + one + "1" + one + ".\n";
    if (c % 4096 == 4095) {
      texts.push_back(every);
      every.clear();
    }
  }
  texts.push_back(every);
  return texts;
}

void expect_the_same_ids(const Tokenizer& tokenizer, const std::string& file) {
  TempDir directory;
  const std::vector<std::string> texts = varied_texts();
  write_lines(directory / "texts.jsonl", texts);
  for (bool parse : {false, true}) {
    ASSERT_NO_FATAL_FAILURE(run_peer("encode " + quoted(file) + " " + quoted(directory / "texts.jsonl") + " " +
                                     quoted(directory / "ids.jsonl") + (parse ? " parse" : " as_text")));
    std::ifstream ids(directory / "ids.jsonl");
    size_t n = 0;
    for (std::string line; std::getline(ids, line); ++n) {
      const SortedJson theirs = parse_json<SortedJson>(line, "a line");
      const std::vector<int32_t> ours =
          tokenizer.encode(texts[n], parse ? SpecialTokens::parse : SpecialTokens::as_text);
      ASSERT_EQ(ours, theirs["ids"].get<std::vector<int32_t>>()) << "text " << n << ": " << texts[n].substr(0, 100);
      ASSERT_EQ(tokenizer.decode(ours, true), theirs["skipped"].get<std::string>()) << "text " << n;
    }
    ASSERT_EQ(n, texts.size());
  }
}

TEST(TokenizerPeer, OurFileGivesOurIdsInHuggingFaceTokenizers) {
  TempDir directory;
  const Tokenizer tokenizer = testing::small_tokenizer(900);
  tokenizer.save(directory.path());
  expect_the_same_ids(tokenizer, directory / "tokenizer.json");
}

TEST(TokenizerPeer, OurFilesLoadInTransformersWithTheirSpecialTokens) {
  TempDir directory;
  testing::small_tokenizer(500).save(directory.path());
  run_peer("transformers " + quoted(directory.path()));
}

TEST(TokenizerPeer, HuggingFacesTrainerMakesTheSameMerges) {
  TempDir directory;
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 30; ++seed)
    texts.push_back(testing::random_text(seed, 3000) + testing::sample_text(1));
  write_lines(directory / "texts.jsonl", texts);
  ThreadPool pool(2);
  BpeOptions options;
  options.vocab_size = 267 + 2500;
  BpeTrainer trainer(options, pool);
  for (const std::string& text : texts) trainer.add_text(text);
  const Tokenizer tokenizer = trainer.train();
  tokenizer.save(directory.path());
  run_peer("train " + quoted(directory / "tokenizer.json") + " " + quoted(directory / "texts.jsonl") + " 2");
}

}  // namespace
}  // namespace hadal
