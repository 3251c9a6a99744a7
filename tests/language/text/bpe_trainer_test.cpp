#include "text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "text/byte_alphabet.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

using testing::error_of;
using testing::TempDir;

BpeOptions options_of(int64_t vocab_size, int64_t min_count = 2) {
  BpeOptions options;
  options.vocab_size = vocab_size;
  options.min_count = min_count;
  return options;
}

Tokenizer trained(const BpeOptions& options, const std::vector<std::string>& texts, int threads = 1) {
  ThreadPool pool(threads);
  BpeTrainer trainer(options, pool);
  for (const std::string& text : texts) trainer.add_text(text);
  return trainer.train();
}

std::vector<std::string> merges_of(const Tokenizer& tokenizer) {
  std::vector<std::string> out;
  for (int64_t rank = 0; rank < tokenizer.n_merges(); ++rank) {
    const auto [left, right] = tokenizer.merge(rank);
    out.push_back(std::string(tokenizer.token_bytes(left)) + "+" + std::string(tokenizer.token_bytes(right)));
  }
  return out;
}

// Training by the definition alone: count all pairs anew before each merge.
std::vector<std::string> merges_by_recounting(const std::vector<std::string>& texts, int64_t n_tokens,
                                              int64_t min_count) {
  std::vector<std::string> tokens(3, "special");
  std::map<std::string, int> ids;
  for (uint8_t byte : byte_alphabet().in_order) {
    ids[std::string(1, char(byte))] = int(tokens.size());
    tokens.emplace_back(1, char(byte));
  }
  std::vector<std::vector<int>> words;
  const PreTokenizer pre_tokenizer(PreTokenizer::default_splits());
  for (const std::string& text : texts) {
    for (const std::string& word : pre_tokenizer.words(text)) {
      words.emplace_back();
      for (char c : word) words.back().push_back(ids[std::string(1, c)]);
    }
  }
  std::vector<std::string> merges;
  std::set<std::pair<int, int>> known;
  while (int64_t(tokens.size()) < n_tokens) {
    std::map<std::pair<int, int>, int64_t> counts;
    for (const auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    std::pair<int, int> best{-1, -1};
    int64_t most = min_count - 1;
    for (const auto& [pair, count] : counts) {  // in ascending order: the first of equals stays
      if (count > most) most = count, best = pair;
    }
    if (best.first < 0) break;
    const std::string bytes = tokens[best.first] + tokens[best.second];
    const auto [place, fresh] = ids.emplace(bytes, int(tokens.size()));
    if (fresh) tokens.push_back(bytes);
    if (known.insert(best).second) merges.push_back(tokens[best.first] + "+" + tokens[best.second]);
    for (auto& word : words) {
      std::vector<int> shorter;
      for (size_t i = 0; i < word.size(); ++i) {
        const bool here = i + 1 < word.size() && word[i] == best.first && word[i + 1] == best.second;
        shorter.push_back(here ? place->second : word[i]);
        i += here;
      }
      word = shorter;
    }
  }
  return merges;
}

TEST(BpeTrainer, GivesTheMergesOfRecountingEverything) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    std::vector<std::string> texts;
    if (seed < 3) {
      texts = {testing::random_text(seed, 1500), testing::random_text(seed + 50, 500)};
    } else {  // two letters: long runs, overlapping pairs, the same bytes made in several ways
      std::string text;
      for (uint64_t i = 0; i < 600; ++i) text += "ab "[random_below(seed, 4, i, 3) % (seed == 3 ? 2 : 3)];
      texts = {text};
    }
    const int64_t min_count = seed % 2 ? 1 : 2;
    const std::vector<std::string> ours = merges_of(trained(options_of(267 + 150, min_count), texts));
    ASSERT_EQ(ours, merges_by_recounting(texts, 259 + 150, min_count)) << seed;
    ASSERT_GT(ours.size(), 20u);
  }
}

TEST(BpeTrainer, BreaksTiesByTheSmallerIds) {
  // Each pair occurs twice. Ids follow the order of the bytes' characters: a before b before z.
  const std::vector<std::string> merges = merges_of(trained(options_of(267 + 3), {"zb\nab\nza\nzb\nab\nza\n"}));
  EXPECT_EQ(merges, (std::vector<std::string>{"a+b", "z+a", "z+b"}));
}

TEST(BpeTrainer, CountsOverlappingPairs) {
  // "aaa" has the pair a a twice, "bb" once: 2 + 2 against 3.
  EXPECT_EQ(merges_of(trained(options_of(268), {"aaa\naaa\nbb\nbb\nbb\n"}))[0], "a+a");
}

TEST(BpeTrainer, DoesNotDependOnThreadsOrOrderOrCuts) {
  const std::string text = testing::sample_text(1);
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 40; ++seed) texts.push_back(testing::random_text(seed, 400) + text);
  const BpeOptions options = options_of(900);
  const std::string expected = trained(options, texts, 1).content_hash();
  EXPECT_EQ(trained(options, texts, 2).content_hash(), expected);
  EXPECT_EQ(trained(options, texts, 5).content_hash(), expected);
  std::reverse(texts.begin(), texts.end());
  EXPECT_EQ(trained(options, texts, 3).content_hash(), expected);
}

TEST(BpeTrainer, ReadsAFileInBlocksLikeOneText) {
  TempDir directory;
  std::string text;
  while (text.size() <
         9'500'000) {  // several blocks of reading and of counting, with multibyte characters at any border
    text += testing::sample_text(1);
    text += testing::random_text(text.size(), 300);
  }
  std::ofstream(directory / "big text.txt", std::ios::binary) << text;
  ThreadPool pool(2);
  BpeTrainer from_file(options_of(700), pool);
  from_file.add_file(directory / "big text.txt");
  EXPECT_EQ(from_file.bytes_seen(), int64_t(text.size()));
  // The whole text as one task, cut by nobody.
  const PreTokenizer pre_tokenizer(PreTokenizer::default_splits());
  std::map<std::string_view, int64_t> words;
  PreTokenizer::Scratch scratch = pre_tokenizer.make_scratch();
  pre_tokenizer.split(text, scratch, [&](std::string_view word) {
    if (word.size() > 1) ++words[word];
  });
  EXPECT_EQ(from_file.distinct_words(), int64_t(words.size()));
  EXPECT_EQ(from_file.train().content_hash(), trained(options_of(700), {text}, 1).content_hash());
}

TEST(BpeTrainer, TakesTextsFromACallback) {
  ThreadPool pool(2);
  BpeTrainer trainer(options_of(500), pool);
  int left = 3;
  trainer.add_texts([&](std::string& text) {
    text = testing::sample_text(1);
    return left-- > 0;
  });
  EXPECT_EQ(trainer.train().content_hash(), testing::small_tokenizer(500).content_hash());
}

TEST(BpeTrainer, TreatsSpelledSpecialTokensAsText) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "<think><|EOT|><｜User｜>x\n";
  BpeOptions options = options_of(267 + 60);
  options.splits = {};  // no borders at all: merges could reach everything
  const Tokenizer tokenizer = trained(options, {text});
  for (const AddedToken& added : tokenizer.added_tokens()) {
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (id != added.id) {
        EXPECT_NE(tokenizer.token_bytes(id), added.content);
      }
    }
  }
  for (int32_t id : tokenizer.encode(text)) EXPECT_FALSE(tokenizer.is_added(id));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(BpeTrainer, PutsTheReportsTokensWhereTheReportHasThem) {
  const Tokenizer tokenizer = testing::small_tokenizer(500);
  EXPECT_EQ(tokenizer.vocab_size(), 500);
  EXPECT_EQ(tokenizer.bos_id(), 0);
  EXPECT_EQ(tokenizer.eos_id(), 1);
  EXPECT_EQ(tokenizer.pad_id(), 2);
  EXPECT_EQ(tokenizer.token_bytes(3), "!");
  EXPECT_EQ(tokenizer.token_bytes(201), "\n");
  EXPECT_EQ(tokenizer.find_token("<｜fim▁hole｜>"), 492);
  EXPECT_EQ(tokenizer.fim_begin_id(), 493);
  EXPECT_EQ(tokenizer.fim_end_id(), 494);
  EXPECT_EQ(tokenizer.find_token("<｜User｜>"), 495);
  EXPECT_EQ(tokenizer.find_token("<｜Assistant｜>"), 496);
  EXPECT_EQ(tokenizer.find_token("<|EOT|>"), 497);
  EXPECT_EQ(tokenizer.find_token("<think>"), 498);
  EXPECT_EQ(tokenizer.find_token("</think>"), 499);
  EXPECT_EQ(tokenizer.n_merges(), 500 - 267);
}

TEST(BpeTrainer, StopsWhereNoPairIsFrequentEnough) {
  const Tokenizer tokenizer = trained(options_of(4096), {"abab\n"});
  EXPECT_EQ(merges_of(tokenizer), (std::vector<std::string>{"a+b"}));
  EXPECT_EQ(tokenizer.vocab_size(), 268);
  EXPECT_EQ(tokenizer.find_token("</think>"), 267);
}

TEST(BpeTrainer, SaysWhatIsWrong) {
  ThreadPool pool(1);
  EXPECT_NE(error_of([&] { BpeTrainer(options_of(266), pool); }).find("vocabulary of 266 is too small"),
            std::string::npos);
  EXPECT_NE(error_of([&] { BpeTrainer(options_of(3'000'000), pool); }).find("too large"), std::string::npos);
  BpeOptions twice = options_of(300);
  twice.extra_tokens = {"<think>"};
  EXPECT_NE(error_of([&] { BpeTrainer(twice, pool); }).find("'<think>' is listed twice"), std::string::npos);
  BpeTrainer trainer(options_of(300), pool);
  EXPECT_NE(error_of([&] { trainer.train(); }).find("no text"), std::string::npos);
  ErrorKind kind = ErrorKind::internal;
  EXPECT_NE(error_of([&] { trainer.add_file("/no/such file.txt"); }, &kind).find("/no/such file.txt"),
            std::string::npos);
  EXPECT_EQ(kind, ErrorKind::not_found);
  TempDir directory;
  EXPECT_NE(error_of([&] { trainer.add_file(directory.path()); }).find("is a directory"), std::string::npos);
}

TEST(BpeTrainer, TellsHowFarItIsAndStopsWhenTold) {
  ThreadPool pool(2);
  BpeTrainer trainer(options_of(500), pool);
  int64_t merged = -1, total = -1;
  trainer.on_progress([&](const BpeProgress& progress) {
    if (std::string_view(progress.stage) == "merging") merged = progress.done, total = progress.total;
  });
  trainer.add_text(testing::sample_text());
  trainer.train();
  EXPECT_EQ(merged, 500 - 267);
  EXPECT_EQ(total, 500 - 267);
  trainer.add_text(testing::sample_text());
  trainer.on_progress([](const BpeProgress&) { fail(ErrorKind::io, "enough"); });
  EXPECT_EQ(error_of([&] { trainer.train(); }), "enough");
}

TEST(BpeTrainer, TrainsOnAnyBytes) {
  const Tokenizer tokenizer = trained(options_of(400), {testing::random_bytes(1, 20000), "", "x"});
  EXPECT_GE(tokenizer.vocab_size(), 267);
  const std::string bytes = testing::random_bytes(2, 1000);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(bytes)), bytes);
}

}  // namespace
}  // namespace hadal
