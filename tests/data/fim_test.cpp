#include "data/fim.h"

#include <set>

#include "base/utf8.h"
#include "data/data_testing.h"

namespace hadal::data {
namespace {

std::string part(const Tokenizer& tokenizer, const FimPassage& passage, int64_t begin, int64_t n) {
  return tokenizer.decode(std::span(passage.tokens).subspan(size_t(begin), size_t(n)));
}

struct Parts {
  std::string prefix, middle, suffix;
};

// Takes a passage apart by its special tokens, in the order of §2.2.
Parts take_apart(const Tokenizer& tokenizer, const FimTokens& special, const FimPassage& passage) {
  EXPECT_EQ(int64_t(passage.tokens.size()), passage.prefix + passage.suffix + passage.middle + kFimExtraTokens);
  EXPECT_EQ(passage.tokens[0], special.begin);
  EXPECT_EQ(passage.tokens[size_t(1 + passage.prefix)], special.hole);
  EXPECT_EQ(passage.tokens[size_t(2 + passage.prefix + passage.suffix)], special.end);
  EXPECT_EQ(passage.tokens.back(), special.eos);
  return {part(tokenizer, passage, 1, passage.prefix),
          part(tokenizer, passage, 3 + passage.prefix + passage.suffix, passage.middle),
          part(tokenizer, passage, 2 + passage.prefix, passage.suffix)};
}

TEST(Fim, PutsPrefixSuffixMiddleBehindTheirTokens) {
  const Tokenizer tokenizer = byte_tokenizer();
  const FimTokens special = fim_tokens(tokenizer);
  // The cuts that the stream gives, by hand: borders 0..6 of "abcdef".
  RandomStream random{7, 1};
  uint64_t a = random.below(7), b = random.below(6);
  if (b >= a) ++b;
  if (a > b) std::swap(a, b);
  const auto passage = make_fim(tokenizer, special, tokenizer.encode("abcdef"), 10, {7, 1});
  ASSERT_TRUE(passage);
  std::vector<int32_t> expected{special.begin};
  auto put = [&](std::string text) {
    for (int32_t id : tokenizer.encode(text)) expected.push_back(id);
  };
  const std::string text = "abcdef";
  put(text.substr(0, a)), expected.push_back(special.hole), put(text.substr(b)), expected.push_back(special.end);
  put(text.substr(a, b - a)), expected.push_back(special.eos);
  EXPECT_EQ(passage->tokens, expected);
}

TEST(Fim, RearrangedPartsAreTheText) {
  const Tokenizer tokenizer = merging_tokenizer();
  const FimTokens special = fim_tokens(tokenizer);
  const std::string text = "the quick brown fox, again and again.\nThe end of the lazy story!";
  std::set<std::string> middles;
  int wrong_order = 0;
  for (uint64_t stream = 0; stream < 200; ++stream) {
    const auto passage = make_fim(tokenizer, special, tokenizer.encode(text), 256, {1, stream});
    ASSERT_TRUE(passage);
    const Parts parts = take_apart(tokenizer, special, *passage);
    EXPECT_EQ(parts.prefix + parts.middle + parts.suffix, text);
    EXPECT_FALSE(parts.middle.empty());
    wrong_order += parts.prefix + parts.suffix + parts.middle != text;
    middles.insert(parts.middle);
  }
  EXPECT_GT(middles.size(), 150u);
  EXPECT_GT(wrong_order, 150) << "negative control: suffix and middle swapped must show";
}

TEST(Fim, NeverCutsInsideACharacter) {
  const Tokenizer tokenizer = byte_tokenizer();
  const FimTokens special = fim_tokens(tokenizer);
  const std::string text = "aé漢😀b\xCC\x81ß";
  std::set<int64_t> cuts;
  for (uint64_t stream = 0; stream < 300; ++stream) {
    const auto passage = make_fim(tokenizer, special, tokenizer.encode(text), 64, {2, stream});
    ASSERT_TRUE(passage);
    const Parts parts = take_apart(tokenizer, special, *passage);
    for (const auto& p : {parts.prefix, parts.middle, parts.suffix}) EXPECT_EQ(utf8_valid_prefix(p), int64_t(p.size()));
    cuts.insert(int64_t(parts.prefix.size())), cuts.insert(int64_t(parts.prefix.size() + parts.middle.size()));
  }
  EXPECT_EQ(cuts, (std::set<int64_t>{0, 1, 3, 6, 10, 11, 13, 15})) << "every border, and nothing else";
}

TEST(Fim, StaysWithinItsTokensEvenWhereCutsCostSome) {
  const Tokenizer tokenizer = merging_tokenizer();
  const FimTokens special = fim_tokens(tokenizer);
  const std::string text = "the quick brown fox jumps over the lazy dog, again and again.";
  const auto ids = tokenizer.encode(text);
  const int64_t budget = int64_t(ids.size()) + kFimExtraTokens;
  int tight = 0, done = 0;
  for (uint64_t stream = 0; stream < 300; ++stream) {
    const auto free = make_fim(tokenizer, special, ids, 1000, {3, stream});
    const auto passage = make_fim(tokenizer, special, ids, budget, {3, stream});
    ASSERT_TRUE(free);
    tight += int64_t(free->tokens.size()) > budget;
    if (!passage) continue;  // both cuts fell on one border
    ++done;
    EXPECT_LE(int64_t(passage->tokens.size()), budget);
    const Parts parts = take_apart(tokenizer, special, *passage);
    EXPECT_EQ(parts.prefix + parts.middle + parts.suffix, text);
    EXPECT_FALSE(parts.middle.empty());
  }
  EXPECT_GT(tight, 20) << "the budget never mattered: this test proves nothing";
  EXPECT_GT(done, 250);
}

TEST(Fim, LeavesTextsOfLessThanTwoCharactersAlone) {
  const Tokenizer tokenizer = byte_tokenizer();
  const FimTokens special = fim_tokens(tokenizer);
  EXPECT_FALSE(make_fim(tokenizer, special, tokenizer.encode(""), 64, {1, 1}));
  EXPECT_FALSE(make_fim(tokenizer, special, tokenizer.encode("x"), 64, {1, 1}));
  EXPECT_FALSE(make_fim(tokenizer, special, tokenizer.encode("漢"), 64, {1, 1}));
  EXPECT_TRUE(make_fim(tokenizer, special, tokenizer.encode("xy"), 64, {1, 1}));
}

TEST(Fim, NamesTheTokenThatTheTokenizerLacks) {
  TempDir directory;
  byte_tokenizer().save((directory / "tok").string());
  std::string json = read_file(directory / "tok/tokenizer.json");
  const std::string name = "fim▁hole", other = "not▁hole";
  for (size_t at = json.find(name); at != std::string::npos; at = json.find(name)) json.replace(at, name.size(), other);
  const Tokenizer tokenizer = Tokenizer::from_json_text(json, read_file(directory / "tok/tokenizer_config.json"));
  expect_error(ErrorKind::invalid, {std::string(kFimHoleToken), "data.fim_rate"}, [&] { fim_tokens(tokenizer); });
}

}  // namespace
}  // namespace hadal::data
