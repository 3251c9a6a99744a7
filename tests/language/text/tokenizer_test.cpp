#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <thread>

#include "text/bpe_model.h"
#include "text/pre_tokenizer.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

using Ids = std::vector<int32_t>;
using testing::error_of;

const Tokenizer& tokenizer600() {
  static const Tokenizer tokenizer = testing::small_tokenizer(600);
  return tokenizer;
}

// BPE by its definition: of all neighbouring pairs the merge of lowest rank, leftmost first.
Ids encode_by_definition(const Tokenizer& tokenizer, std::string_view text) {
  std::map<std::pair<int32_t, int32_t>, int64_t> ranks;
  for (int64_t rank = 0; rank < tokenizer.n_merges(); ++rank) ranks[tokenizer.merge(rank)] = rank;
  Ids out;
  for (const std::string& word : PreTokenizer(tokenizer.splits()).words(text)) {
    std::vector<std::string> parts;
    for (char c : word) parts.emplace_back(1, c);
    while (true) {
      size_t best = parts.size();
      int64_t lowest = INT64_MAX;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = ranks.find({*tokenizer.find_token(parts[i]), *tokenizer.find_token(parts[i + 1])});
        if (found != ranks.end() && found->second < lowest) lowest = found->second, best = i;
      }
      if (best == parts.size()) break;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + int64_t(best) + 1);
    }
    for (const std::string& part : parts) out.push_back(*tokenizer.find_token(part));
  }
  return out;
}

TEST(Tokenizer, GivesBackAnyBytes) {
  const Tokenizer& tokenizer = tokenizer600();
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const std::string bytes = testing::random_bytes(seed, int64_t(seed));
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(bytes)), bytes);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(bytes, SpecialTokens::parse)), bytes);
    const std::string text = testing::random_text(seed, 100);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  std::string every;
  for (int b = 0; b < 256; ++b) every += char(b);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(every)), every);
  EXPECT_TRUE(tokenizer.encode("").empty());
}

TEST(Tokenizer, MergesByTheDefinition) {
  const Tokenizer& tokenizer = tokenizer600();
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::string text = testing::random_text(seed, 200);
    ASSERT_EQ(tokenizer.encode(text), encode_by_definition(tokenizer, text)) << seed;
  }
  EXPECT_EQ(tokenizer.encode(testing::sample_text(1)), encode_by_definition(tokenizer, testing::sample_text(1)));
}

TEST(Tokenizer, MergesLongWordsLikeShortOnes) {
  const Tokenizer& tokenizer = tokenizer600();
  const std::string letters = "thereinandonthethatwaswhichsomething";
  for (size_t length : {94, 95, 96, 97, 98, 200, 1000}) {
    std::string word;
    for (uint64_t i = 0; word.size() < length; ++i) word += letters[random_below(length, 5, i, letters.size())];
    EXPECT_EQ(tokenizer.encode(word), encode_by_definition(tokenizer, word)) << length;
    const std::string run(length, ' ');
    EXPECT_EQ(tokenizer.encode(run), encode_by_definition(tokenizer, run)) << length;
  }
}

TEST(Tokenizer, DoesNotDependOnWhatItEncodedBefore) {  // the cache of words
  const Tokenizer used = testing::small_tokenizer(600);
  for (uint64_t seed = 0; seed < 50; ++seed) used.encode(testing::random_text(seed, 2000));
  const std::string text = testing::random_text(99, 2000);
  EXPECT_EQ(used.encode(text), testing::small_tokenizer(600).encode(text));
}

TEST(WordCache, KnowsOnlyWhatItKept) {
  WordCache cache;
  Ids ids{7};
  const int32_t two[] = {1, 2};
  EXPECT_FALSE(cache.find("ab", 5, ids));
  cache.keep("ab", 5, two, 2);
  EXPECT_TRUE(cache.find("ab", 5, ids));
  EXPECT_EQ(ids, (Ids{7, 1, 2}));
  EXPECT_FALSE(cache.find("ac", 5, ids));  // same place, other bytes
  EXPECT_FALSE(cache.find("abc", 5, ids));
  cache.keep("ac", 5, two, 1);
  EXPECT_FALSE(cache.find("ab", 5, ids));
}

TEST(Tokenizer, EncodesSpelledSpecialTokensAsTextUnlessAskedTo) {
  const Tokenizer& tokenizer = tokenizer600();
  const std::string text = "<｜User｜>hi<｜Assistant｜><think>\n</think>yes<｜end▁of▁sentence｜>";
  const Ids plain = tokenizer.encode(text);
  for (int32_t id : plain) EXPECT_FALSE(tokenizer.is_added(id));
  const Ids parsed = tokenizer.encode(text, SpecialTokens::parse);
  Ids added;
  for (int32_t id : parsed) {
    if (tokenizer.is_added(id)) added.push_back(id);
  }
  EXPECT_EQ(added, (Ids{*tokenizer.find_token(kUserToken), *tokenizer.find_token(kAssistantToken),
                        *tokenizer.find_token(kThinkBeginToken), *tokenizer.find_token(kThinkEndToken), 1}));
  EXPECT_EQ(parsed.front(), *tokenizer.find_token(kUserToken));
  EXPECT_EQ(parsed.back(), 1);
  EXPECT_EQ(tokenizer.decode(plain), text);
  EXPECT_EQ(tokenizer.decode(parsed), text);
  EXPECT_EQ(tokenizer.encode("<think", SpecialTokens::parse), tokenizer.encode("<think"));
}

TEST(Tokenizer, LeavesSpecialTokensOutWhenDecodingIfAsked) {
  const Tokenizer& tokenizer = tokenizer600();
  const Ids ids{0, *tokenizer.find_token("a"), *tokenizer.find_token(kThinkBeginToken),
                *tokenizer.find_token(kEndOfTurnToken), 1};
  EXPECT_EQ(tokenizer.decode(ids, true), "a<think>");  // think is an added token, but not flagged special
  EXPECT_EQ(tokenizer.decode(ids), "<｜begin▁of▁sentence｜>a<think><|EOT|><｜end▁of▁sentence｜>");
}

TEST(Tokenizer, RefusesUnknownIds) {
  for (int32_t id : {-1, 600, INT32_MAX}) {
    const std::string message = error_of([&] { tokenizer600().decode(Ids{id}); });
    EXPECT_NE(message.find("0 .. 599"), std::string::npos) << message;
  }
}

TEST(Tokenizer, EncodesOnManyThreadsAtOnce) {
  const Tokenizer& tokenizer = tokenizer600();
  std::vector<std::string> texts;
  std::vector<Ids> alone;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    texts.push_back(testing::random_text(seed, 3000));
    alone.push_back(tokenizer.encode(texts.back()));
  }
  std::vector<Ids> together(8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&, i] { together[i] = tokenizer.encode(texts[i]); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST(Tokenizer, TellsTokenizersApartByTheirHash) {
  EXPECT_EQ(testing::small_tokenizer(600).content_hash(), tokenizer600().content_hash());
  EXPECT_NE(testing::small_tokenizer(599).content_hash(), tokenizer600().content_hash());
  EXPECT_EQ(tokenizer600().content_hash().size(), 64u);
}

// ---- splitting of fused tokens ----

Tokenizer fused_tokenizer() {
  ThreadPool pool(1);
  BpeOptions options;
  options.vocab_size = 300;
  BpeTrainer trainer(options, pool);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "a.\nb;\r\nc。\n\nd (\ne  \n\nf\r\ng。h (i";
  trainer.add_text(text);
  return trainer.train();
}

std::string text_of(const Tokenizer& tokenizer, std::span<const int32_t> ids) { return tokenizer.decode(ids); }

TEST(FusedTokens, AreMarksWithLineEndsBehindThem) {
  const Tokenizer tokenizer = fused_tokenizer();
  auto parts = [&](std::string_view token) {
    std::vector<std::string> out;
    const auto id = tokenizer.find_token(token);
    if (!id) return std::vector<std::string>{"no such token"};
    for (int32_t part : tokenizer.fused_parts(*id)) out.emplace_back(tokenizer.token_bytes(part));
    return out;
  };
  using Parts = std::vector<std::string>;
  EXPECT_EQ(parts(".\n"), (Parts{".", "\n"}));
  EXPECT_EQ(parts(";\r\n"), (Parts{";", "\r\n"}));
  EXPECT_EQ(parts("。\n\n"), (Parts{"。", "\n\n"}));
  EXPECT_EQ(parts(" (\n"), (Parts{" (", "\n"}));
  EXPECT_EQ(parts("  \n\n"), Parts{});  // white space alone fuses nothing
  EXPECT_EQ(parts("\n\n"), Parts{});
  EXPECT_EQ(parts("."), Parts{});
}

TEST(FusedTokens, AreSplitAtTheFractionAskedFor) {
  const Tokenizer tokenizer = fused_tokenizer();
  Ids ids;
  for (int i = 0; i < 4000; ++i) {
    for (int32_t id : tokenizer.encode("a.\n")) ids.push_back(id);
  }
  ASSERT_EQ(ids.size(), 8000u);
  EXPECT_EQ(split_fused_tokens(tokenizer, ids, 0.0, 1, 2), ids);
  EXPECT_EQ(split_fused_tokens(tokenizer, ids, 1.0, 1, 2).size(), 12000u);
  const Ids some = split_fused_tokens(tokenizer, ids, 0.25, 1, 2);
  EXPECT_NEAR(double(some.size() - ids.size()) / 4000, 0.25, 5 * std::sqrt(0.25 * 0.75 / 4000));
  EXPECT_EQ(text_of(tokenizer, some), text_of(tokenizer, ids));
  EXPECT_EQ(split_fused_tokens(tokenizer, ids, 0.25, 1, 2), some);
  EXPECT_NE(split_fused_tokens(tokenizer, ids, 0.25, 1, 3), some);
  EXPECT_NE(split_fused_tokens(tokenizer, ids, 0.25, 2, 2), some);
}

TEST(FusedTokens, NeedAFractionBetweenZeroAndOne) {
  for (double fraction : {-0.1, 1.1, std::nan("")}) {
    EXPECT_NE(error_of([&] { split_fused_tokens(tokenizer600(), {}, fraction, 0, 0); }).find("not in 0 .. 1"),
              std::string::npos);
  }
}

// ---- kinds of text ----

TEST(TextKinds, NameWordsByTheirFirstLetter) {
  EXPECT_EQ(text_kind(" word"), "Latin");
  EXPECT_EQ(text_kind("(слово"), "Cyrillic");
  EXPECT_EQ(text_kind("中文"), "Han");
  EXPECT_EQ(text_kind("カナ"), "kana");
  EXPECT_EQ(text_kind("123"), "digits");
  EXPECT_EQ(text_kind(" ).\n"), "marks");
  EXPECT_EQ(text_kind("  \n"), "white space");
  EXPECT_EQ(text_kind("😀"), "emoji");
  EXPECT_EQ(text_kind("\xff"), "bytes outside UTF-8");
}

TEST(TextKinds, CountEveryByteOnce) {
  const std::string text = testing::random_text(3, 2000) + testing::random_bytes(4, 200);
  int64_t bytes = 0, tokens = 0;
  for (const KindCount& kind : measure_text(tokenizer600(), text)) {
    bytes += kind.bytes;
    tokens += kind.tokens;
  }
  EXPECT_EQ(bytes, int64_t(text.size()));
  EXPECT_EQ(tokens, int64_t(tokenizer600().encode(text).size()));
}

TEST(TextKinds, HaveSamplesThatAreValidText) {
  EXPECT_GE(text_samples().size(), 14u);
  for (const TextSample& sample : text_samples()) {
    const KindCount count = measure_sample(tokenizer600(), sample);
    EXPECT_EQ(count.bytes, int64_t(sample.text.size()));
    EXPECT_GT(count.tokens, 0);
    EXPECT_LE(count.characters, count.bytes);
  }
}

TEST(Tokenizer, EncodesOnManyThreadsWhatItEncodesOnOne) {
  const Tokenizer tokenizer = testing::small_tokenizer();
  ThreadPool pool(3);
  std::vector<std::string> texts = {"", "a", testing::sample_text(60)};
  for (uint64_t seed = 0; seed < 200; ++seed) texts.push_back(testing::random_text(seed, int64_t(seed) * 5));
  std::string longest;  // several parts: lines of all kinds, some of random bytes, and an added token here and there
  for (uint64_t seed = 0; longest.size() < 1'500'000; ++seed) {
    longest +=
        testing::random_text(seed, 300) + testing::random_bytes(seed, 20) + (seed % 3 ? "<think>\n" : "\n\n") + "x";
  }
  texts.push_back(longest);
  texts.push_back(std::string(900'000, '\n') + "a");
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const SpecialTokens special : {SpecialTokens::as_text, SpecialTokens::parse}) {
    const auto all = tokenizer.encode_all(views, special, pool);
    ASSERT_EQ(all.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) ASSERT_TRUE(all[i] == tokenizer.encode(texts[i], special)) << i;
    EXPECT_TRUE(tokenizer.encode(longest, special, pool) == tokenizer.encode(longest, special));
  }
}

}  // namespace
}  // namespace hadal
