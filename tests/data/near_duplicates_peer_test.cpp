// Words, letters and pairs beside datatrove's simplify_text and MinHash signatures, and Python's tables of characters.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/json.h"
#include "base/utf8.h"
#include "config/duplicates_config.h"
#include "data/data_testing.h"
#include "data/min_hash.h"
#include "data/normal_words.h"
#include "data/words.h"

namespace hadal::data {
namespace {

using PeerJson = nlohmann::json;

class NearDuplicatesPeer : public ::testing::Test {
 protected:
  bool has_python() const { return std::filesystem::exists(python_); }
  void write(const std::string& what) {
    const std::string command = fmt::format("'{}' -B '{}/tests/oracle/near_duplicates.py' '{}' {}", python_,
                                            HADAL_SOURCE_DIR, dir_.path().string(), what);
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  template <class Take>
  void each_line(const std::string& file, Take take) {
    std::istringstream lines(read_file(dir_ / file));
    for (std::string line; std::getline(lines, line);) take(parse_json<PeerJson>(line, file));
  }
  const std::string python_ = std::string(HADAL_SOURCE_DIR) + "/.venv/bin/python";
  TempDir dir_;
};

std::vector<std::string> spelt(const std::string& text, bool fold_numbers) {
  const auto characters = characters_of(text);
  std::vector<std::string> words;
  for (const NormalWord& word : normal_words(characters, fold_numbers))
    words.push_back(normal_spelling(characters, word, fold_numbers));
  return words;
}

TEST_F(NearDuplicatesPeer, WordsAreDatatrovesAndLettersPythons) {
  if (!has_python()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  write("words");
  int64_t n = 0, wrong = 0;
  each_line("words.jsonl", [&](const PeerJson& line) {
    for (const bool folds : {true, false}) {
      const auto ours = spelt(line.at("text"), folds), theirs = line.at(folds ? "words" : "kept").get<decltype(ours)>();
      ++n, wrong += ours != theirs;
      if (wrong <= 5) {
        EXPECT_EQ(ours, theirs) << line.at("text");
      }
    }
  });
  EXPECT_EQ(n, 4000);
  EXPECT_EQ(wrong, 0);
  int64_t letters = 0, unlike = 0;
  each_line("letters.jsonl", [&](const PeerJson& line) {
    std::string letter;
    append_utf8(letter, line.at(0));
    const uint32_t code = line.at(0);
    const bool ideographs = (code >= 0xF900 && code < 0xFB00) || (code >= 0x2F800 && code < 0x2FA20);
    const bool by_parts = code >= 0xAC00 && code < 0xD7A4;  // Hangul stays whole
    if (ideographs || by_parts) return;
    const auto words = spelt(letter, true);
    ++letters;
    const bool same = words.size() == 1 && words[0] == line.at(1).get<std::string>();
    unlike += !same;
    if (!same && unlike <= 5) {
      EXPECT_TRUE(same) << code;
    }
  });
  EXPECT_EQ(unlike, 0);
  EXPECT_GT(letters, 100'000);
}

TEST_F(NearDuplicatesPeer, PairsShareABucketAsOftenAsThoseOfDatatrove) {
  if (!has_python()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  write("pairs");
  const NearDuplicatesConfig config;
  const MinHash min_hash(config.buckets, config.hashes);
  std::vector<uint64_t> before, keys(size_t(config.buckets));
  std::vector<uint64_t> before_groups;
  std::string text;
  int64_t line = 0;
  double ours = 0, theirs = 0, expected = 0, variance = 0;
  each_line("texts.jsonl", [&](const PeerJson& document) {
    text = document.at("text");
    auto groups = word_groups(normal_words(characters_of(text), true), config.ngram);
    min_hash.keys(groups, keys.data());
    std::sort(groups.begin(), groups.end());
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    if (line++ % 2 == 1) {
      const double p = config.found(jaccard(before_groups, groups));
      expected += p, variance += p * (1 - p);
      theirs += document.at("bucket").get<bool>();
      bool any = false;
      for (size_t i = 0; i < keys.size(); ++i) any |= keys[i] == before[i];
      ours += any;
    }
    before = keys, before_groups = groups;
  });
  EXPECT_EQ(line, 3000);
  EXPECT_NEAR(ours, expected, 4 * std::sqrt(variance));
  EXPECT_NEAR(theirs, expected, 4 * std::sqrt(variance));
}

}  // namespace
}  // namespace hadal::data
