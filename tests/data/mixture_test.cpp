#include <algorithm>
#include <map>
#include <set>

#include "data/data_testing.h"
#include "data/fim.h"
#include "data/loader.h"

namespace hadal::data {
namespace {

std::vector<std::string> documents(int64_t n, int64_t bytes, uint64_t seed) {
  std::vector<std::string> texts;
  for (int64_t i = 0; i < n; ++i) texts.push_back(random_text(bytes, seed * 10000 + uint64_t(i)));
  return texts;
}

TEST(Mixture, WeightsAreSharesAndTheRestIsNatural) {
  using V = std::vector<double>;
  EXPECT_EQ(mixture_weights({0, 0}, {300, 100}), (V{0.75, 0.25}));
  EXPECT_EQ(mixture_weights({0.5, 0, 0}, {7, 300, 100}), (V{0.5, 0.375, 0.125}));
  EXPECT_EQ(mixture_weights({3, 1}, {5, 5}), (V{0.75, 0.25}));
  EXPECT_EQ(mixture_weights({0.5, 0.5}, {5, 0}), (V{1, 0})) << "a source without text gives nothing";
}

TEST(Mixture, RefusesWeightsThatLeaveNothingForTheOthers) {
  expect_error(ErrorKind::invalid, {"1.2", "weight 0"}, [] { mixture_weights({1.2, 0}, {5, 5}); });
  expect_error(ErrorKind::invalid, {"no source"}, [] { mixture_weights({0, 0}, {0, 0}); });
}

TEST(Mixture, SharesOfTokensFollowTheWeightsWhateverTheDocumentsLengths) {
  // Documents of 100 and of 5 tokens (EOS included): equal token shares need twenty short ones for each long one.
  Fixture f({documents(50, 99, 1), documents(300, 4, 2)});
  f.config.data.sources[0].weight = 0.5;
  f.config.data.sources[1].weight = 0.5;
  f.config.data.sequence_length = 128;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  double tokens[2] = {}, passages[2] = {};
  for (const auto& s : loader.next(200).sequences)
    for (const auto& passage : s.passages)
      tokens[passage.source] += double(passage.length), passages[passage.source] += 1;
  EXPECT_NEAR(tokens[0] / (tokens[0] + tokens[1]), 0.5, 0.01);
  EXPECT_LT(passages[0] / (passages[0] + passages[1]), 0.06)
      << "negative control: shares of documents are something else";
}

TEST(Mixture, HandComputedOrderOfDraws) {
  // Ten tokens each, weights 2 : 1, smallest drawn / weight first, ties to the first source: 0 1 0 | 0 1 0 | ...
  Fixture f({documents(30, 9, 3), documents(30, 9, 4)});
  f.config.data.sources[0].weight = 2;
  f.config.data.sources[1].weight = 1;
  f.config.data.sequence_length = 10;
  f.config.data.pack_window = 3;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  for (int window = 0; window < 8; ++window) {
    int counts[2] = {};
    for (const auto& s : loader.next(3).sequences) ++counts[s.passages[0].source];
    EXPECT_EQ(counts[0], 2) << "window " << window;
    EXPECT_EQ(counts[1], 1) << "window " << window;
  }
}

TEST(Mixture, SmallSourcesRepeatWhileLargeOnesGoOn) {
  Fixture f({documents(4, 9, 5), documents(100, 9, 6)});
  f.config.data.sources[0].weight = 0.5;
  f.config.data.sources[1].weight = 0.5;
  f.config.data.sequence_length = 10;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  loader.skip(160);
  EXPECT_NEAR(loader.epochs(0), 20, 1.01);
  EXPECT_NEAR(loader.epochs(1), 0.8, 0.05);
}

TEST(Mixture, AUsedUpSourceLeavesTheRestToTheOthers) {
  Fixture f({documents(3, 9, 7), documents(40, 9, 8)});
  f.config.data.sources[0].weight = 0.9;
  f.config.data.sources[1].weight = 0.1;
  f.config.data.at_end = AtEnd::stop;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  std::set<std::pair<int64_t, int64_t>> seen;
  int64_t passages = 0;
  for (const auto& s : loader.next(1000).sequences)
    for (const auto& passage : s.passages) ++passages, seen.insert({passage.source, passage.document});
  EXPECT_EQ(passages, 43);
  EXPECT_EQ(seen.size(), 43u);
}

TEST(FimInLoader, RateIsHeldAndPartsAreRedrawnInEachEpoch) {
  Fixture f({documents(400, 40, 9)});
  f.config.data.sequence_length = 64;
  f.config.data.fim_rate = 0.1;
  f.config.data.at_end = AtEnd::next_epoch;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  std::map<int64_t, std::set<int64_t>> filled;  // documents by epoch
  std::map<int64_t, int64_t> drawn;
  for (const auto& s : loader.next(1400).sequences) {
    for (const auto& passage : s.passages) {
      ++drawn[passage.epoch];
      if (passage.fim) filled[passage.epoch].insert(passage.document);
    }
  }
  ASSERT_EQ(drawn[0], 400);
  ASSERT_EQ(drawn[1], 400);
  EXPECT_NEAR(double(filled[0].size()) / 400, 0.1, 0.045);  // three standard deviations
  EXPECT_NEAR(double(filled[1].size()) / 400, 0.1, 0.045);
  EXPECT_NE(filled[0], filled[1]);
}

TEST(FimInLoader, PiecesOfLongDocumentsKeepTheirPartsTogetherAndTheirText) {
  const std::string text = random_text(2000, 5);
  Fixture f(one_source({text}));
  f.config.data.sequence_length = 32;
  f.config.data.fim_rate = 0.5;
  f.config.data.at_end = AtEnd::stop;
  const Prepared p = f.prepare();
  const FimTokens special = fim_tokens(p.tokenizer);
  Loader loader(p.shards, p.tokenizer, f.config.data);
  std::map<int64_t, std::string> parts;
  int64_t filled = 0;
  for (const auto& s : loader.next(1000).sequences) {
    for (const auto& passage : s.passages) {
      auto text_of = [&](int64_t begin, int64_t n) {
        return p.tokenizer.decode(std::span(s.tokens).subspan(size_t(passage.start + begin), size_t(n)), true);
      };
      if (!passage.fim) {
        parts[passage.index] = text_of(0, passage.length);
        continue;
      }
      ++filled;
      EXPECT_EQ(s.tokens[size_t(passage.start)], special.begin);
      EXPECT_EQ(s.tokens[size_t(passage.start + 1 + passage.prefix)], special.hole);
      EXPECT_EQ(s.tokens[size_t(passage.start + 2 + passage.prefix + passage.suffix)], special.end);
      EXPECT_EQ(s.tokens[size_t(passage.start + passage.length - 1)], special.eos);
      parts[passage.index] = text_of(1, passage.prefix) + text_of(3 + passage.prefix + passage.suffix, passage.middle) +
                             text_of(2 + passage.prefix, passage.suffix);
    }
  }
  std::string whole;
  for (const auto& [index, part] : parts) whole += part;
  EXPECT_EQ(whole, text);
  EXPECT_GT(filled, 20);
}

TEST(FimInLoader, CutsOfLongDocumentsAreNotTiedToTheirTokens) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "the quick brown fox jumps over the lazy dog, again and again. ";
  Fixture f(one_source({text}), merging_tokenizer());
  f.config.data.sequence_length = 64;
  f.config.data.fim_rate = 1;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  int64_t inside = 0, passages = 0;
  for (const auto& s : loader.next(100).sequences)
    for (const auto& passage : s.passages)
      ++passages, inside += passage.prefix + passage.suffix + passage.middle > passage.n_tokens;
  EXPECT_GT(inside, passages / 2);
}

TEST(FimInLoader, NeedsTheTokensAndRoomForThem) {
  Fixture f(one_source({"abc"}));
  f.config.data.fim_rate = 0.1;
  f.config.data.sequence_length = 6;
  const Prepared p = f.prepare();
  expect_error(ErrorKind::invalid, {"data.sequence_length", "8", "6"},
               [&] { Loader(p.shards, p.tokenizer, f.config.data); });
}

}  // namespace
}  // namespace hadal::data
