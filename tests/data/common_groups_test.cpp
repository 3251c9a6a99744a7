// Words of evaluation items that are common in the corpus (data.decontaminate.common_above): they remove none, and all
// else is found as before. Beside a count of documents by hand.
#include "data/common_groups.h"

#include <set>

#include "config/config_io.h"
#include "data/data_testing.h"
#include "data/recipe.h"
#include "data/removed.h"

namespace hadal::data {
namespace {

const std::string kPhrase =
    "Permission is hereby granted free of charge to any person obtaining a copy of this software";  // 16 words
const std::string kQuestion =
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.";

std::string around(const std::string& text, int i) { return fmt::format("Page {} says: {}. The end, {}.", i, text, i); }

// One item: the phrase, and a question of its own.
struct Corpora {
  TempDir dir;
  DataConfig config;
  explicit Corpora(const std::vector<std::string>& documents, int64_t above = 0) {
    write_text(dir / "test.jsonl", fmt::format("{{\"licence\": \"{}\", \"question\": \"{}\"}}\n", kPhrase, kQuestion));
    std::vector<std::string> with_another = documents;
    with_another.push_back("Nothing of it is here.");
    write_jsonl(dir / "a.jsonl", with_another);
    config.sources = {source_of("a", dir / "a.jsonl")};
    config.decontaminate.files = {(dir / "test.jsonl").string()};
    config.decontaminate.common_above = above;
    config.holdout_fraction = 0;
  }
  Corpus scan() const { return Corpus::scan(config, kQuiet); }
  std::string removed() const {  // documents, from 0
    const Corpus corpus = scan();
    std::string all;
    for (int64_t d = 0; d < corpus.n_documents(); ++d)
      if (corpus.facts(d).fate == Fate::filtered) all += fmt::format("{} ", d);
    return all;
  }
};

std::vector<std::string> pages(int n) {
  std::vector<std::string> documents;
  for (int i = 0; i < n; ++i) documents.push_back(around(kPhrase, i));
  return documents;
}

TEST(CommonGroups, WordsInMoreDocumentsThanAskedForRemoveNoneAndAllElseStillDoes) {
  std::vector<std::string> documents = pages(11);
  documents.push_back("Nothing at all.");
  documents.push_back(around(kQuestion, 12));
  EXPECT_EQ(Corpora(documents).removed(), "0 1 2 3 4 5 6 7 8 9 10 12 ") << "off: every match counts";
  const Corpora with(documents, 10);
  EXPECT_EQ(with.removed(), "12 ");
  const Corpus corpus = with.scan();
  ASSERT_EQ(corpus.notes().size(), 2u);
  EXPECT_NE(corpus.notes()[1].find("4 groups of words of 1 evaluation item stand in more than 10 documents"),
            std::string::npos)
      << corpus.notes()[1];
  EXPECT_EQ(corpus.counts()[0].by_rule.at("decontaminate.ngram").documents, 1);
  const std::string shown = removed_text(removed_documents(with.config, "decontaminate", 20, kQuiet));
  EXPECT_NE(shown.find("1 of 1 removed documents"), std::string::npos) << shown;
  EXPECT_NE(shown.find("shared: natalia sold clips"), std::string::npos) << shown;
}

TEST(CommonGroups, ADocumentMoreDecidesAndCopiesAreOne) {
  EXPECT_EQ(Corpora(pages(10), 10).removed(), "0 1 2 3 4 5 6 7 8 9 ") << "ten are no more than ten";
  EXPECT_EQ(Corpora(pages(11), 10).removed(), "");
  std::vector<std::string> copies = pages(10);
  for (int i = 0; i < 5; ++i) copies.push_back(copies[3]);
  EXPECT_EQ(Corpora(copies, 10).removed(), "0 1 2 3 4 5 6 7 8 9 ") << "exact copies are one document";
  EXPECT_EQ(Corpora({around(kPhrase + " " + kPhrase, 1)}, 1).removed(), "0 ") << "twice in one document is once";
}

// What it costs: an item that many pages quote is taken for a phrase.
TEST(CommonGroups, AnItemThatManyPagesQuoteIsNoLongerFound) {
  std::vector<std::string> documents;
  for (int i = 0; i < 11; ++i) documents.push_back(around(kQuestion, i));
  EXPECT_EQ(Corpora(documents, 11).removed(), "0 1 2 3 4 5 6 7 8 9 10 ");
  EXPECT_EQ(Corpora(documents, 10).removed(), "");
}

TEST(CommonGroups, DocumentsThatARuleRefusesDoNotCount) {
  std::vector<std::string> documents = pages(10);
  documents.push_back(around(kPhrase, 10) + std::string(40, '#'));
  const auto scanned = [&](int64_t above) {
    Corpora corpora(documents, above);
    corpora.config.sources[0].rules = {"gopher_quality"};
    corpora.config.sources[0].limits.gopher_quality = {
        .min_words = 3, .max_hashes = 0.1, .min_words_with_letters = 0, .min_stop_words = 0};
    return corpora.scan();
  };
  const Corpus ten = scanned(10);
  EXPECT_EQ(ten.counts()[0].by_rule.at("decontaminate.ngram").documents, 10);
  const auto& refused = ten.counts()[0].by_rule.begin();
  ASSERT_EQ(ten.counts()[0].by_rule.size(), 2u);
  const auto rule = std::next(refused);
  EXPECT_EQ(rule->second.documents, 1);
  EXPECT_EQ(rule->second.alone, 0) << "the item would have removed it as well";
  const Corpus nine = scanned(9);
  ASSERT_EQ(nine.counts()[0].by_rule.size(), 1u);
  EXPECT_EQ(nine.counts()[0].by_rule.begin()->second.alone, 1) << "the phrase alone would not";
}

TEST(CommonGroups, WhatGoesLeavesNoNearDuplicateBehind) {
  std::string words;
  for (int i = 0; i < 300; ++i) words += std::string{char('a' + i % 17), char('a' + i % 23), ' '};
  for (const bool item_first : {true, false}) {
    const std::string held = words + kQuestion, free = words + "and that was all there is to say of it";
    Corpora corpora({item_first ? held : free, item_first ? free : held}, 10);
    corpora.config.near_duplicates.across = Across::all;
    const Corpus corpus = corpora.scan();
    EXPECT_EQ(corpus.facts(item_first ? 0 : 1).fate, Fate::filtered);
    EXPECT_EQ(corpus.facts(item_first ? 1 : 0).fate, Fate::training) << "the first of the two is not there any more";
  }
}

// A random corpus over few words, with rules that cut lines and near duplicates.
struct RandomCorpora : Corpora {
  std::vector<std::string> items, documents;
  explicit RandomCorpora(uint64_t seed) : Corpora({}) {
    RandomStream random{seed, stream_id("test.common_groups"), 0};
    const auto words = [&](uint64_t n) {
      std::string text;
      for (; n > 0; --n) text += std::string(text.empty() ? "" : " ") + char('a' + random.below(3));
      return text;
    };
    std::string content;
    for (int i = 0; i < 4; ++i) content += items.emplace_back(words(4 + random.below(4))) + "\n";
    for (int i = 0; i < 40; ++i) documents.push_back(words(5 + random.below(12)));
    write_text(dir / "test.txt", content);
    write_jsonl(dir / "a.jsonl", documents);
    config.decontaminate = {.files = {(dir / "test.txt").string()}, .ngram = 5, .min_words = 4};
  }
  // Pieces of a text of n words, each once.
  static std::set<std::string> pieces(const std::string& text, size_t n) {
    std::set<std::string> all;
    for (size_t at = 0; at + 2 * n - 1 <= text.size(); at += 2) all.insert(text.substr(at, 2 * n - 1));
    return all;
  }
  // Of five words of an item, or of all four that it has.
  std::set<std::string> looked_for() const {
    std::set<std::string> all;
    for (const std::string& item : items) all.merge(pieces(item, std::min<size_t>(5, (item.size() + 1) / 2)));
    return all;
  }
  std::string removed_by_hand(int64_t above) const {
    const std::set<std::string> wanted = looked_for(), distinct(documents.begin(), documents.end());
    std::map<std::string, int64_t> holders;
    for (const std::string& document : distinct)
      for (const size_t n : {4, 5})
        for (const std::string& piece : pieces(document, n)) holders[piece] += wanted.contains(piece);
    std::string all;
    std::set<std::string> met;
    for (size_t d = 0; d < documents.size(); ++d) {
      bool goes = false;
      for (const size_t n : {4, 5})
        for (const std::string& piece : pieces(documents[d], n))
          goes |= wanted.contains(piece) && (above == 0 || holders[piece] <= above);
      if (goes && met.insert(documents[d]).second) all += fmt::format("{} ", d);
    }
    return all;
  }
};

TEST(CommonGroups, RemoveWhatACountByHandRemovesForAnyNumberOfThreads) {
  int64_t differ = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    RandomCorpora corpora(seed);
    for (const int64_t above : {0, 1, 2, 3, 100}) {
      corpora.config.decontaminate.common_above = above;
      const std::string expected = corpora.removed_by_hand(above);
      EXPECT_EQ(corpora.removed(), expected) << seed << ", above " << above;
      differ += expected != corpora.removed_by_hand(0);
    }
    corpora.config.decontaminate.common_above = 2;
    ThreadPool pool(3);
    EXPECT_EQ(Corpus::scan(corpora.config, kQuiet, {.pool = &pool}).fingerprint(), corpora.scan().fingerprint());
  }
  EXPECT_GT(differ, 20);
}

TEST(CommonGroups, ALimitThatNothingReachesIsNoLimit) {
  std::vector<std::string> documents = pages(4);
  for (int i = 0; i < 30; ++i) {
    std::string text;
    for (int line = 0; line < 6; ++line)
      text += fmt::format("This is line {} of page {} of a book about the sea, and it is long enough.\n", line, i % 7);
    text += fmt::format("Menu {}\n{}", i, i % 5 == 0 ? kQuestion + "\n" : "");
    documents.push_back(text);
  }
  const auto scanned = [&](int64_t above) {
    Corpora corpora(documents, above);
    corpora.config.sources[0].rules = {"c4"};
    corpora.config.near_duplicates.across = Across::all;
    return corpora.scan();
  };
  const Corpus off = scanned(0), on = scanned(1000);
  EXPECT_EQ(on.fingerprint(), off.fingerprint());
  EXPECT_EQ(Corpus::table(on.sources(), on.counts()), Corpus::table(off.sources(), off.counts()));
  EXPECT_EQ(on.counts()[0].cut_bytes, off.counts()[0].cut_bytes);
  EXPECT_GT(off.counts()[0].cut_bytes, 0);
  EXPECT_GT(off.counts()[0].by_rule.at("decontaminate.ngram").documents, 0);
  EXPECT_GT(off.near_duplicates().size(), 0u);
  for (const auto& [rule, by] : off.counts()[0].by_rule) {
    const RuleCounts& same = on.counts()[0].by_rule.at(rule);
    EXPECT_EQ(same.documents, by.documents) << rule;
    EXPECT_EQ(same.bytes, by.bytes) << rule;
    EXPECT_EQ(same.alone, by.alone) << rule;
  }
  EXPECT_TRUE(on.common_groups().empty());
  EXPECT_NE(scanned(2).fingerprint(), off.fingerprint());
}

TEST(CommonGroups, AnotherLimitIsAnotherBuildAndNoneIsTheOneThatWas) {
  Config config;
  config.data.sources = {source_of("a", "a.jsonl")};
  config.data.decontaminate.files = {"test.jsonl"};
  const std::string off = shard_recipe(config, 1);
  EXPECT_EQ(off.find("common"), std::string::npos) << "builds from before the key stay what they are";
  config.data.decontaminate.common_above = 10;
  EXPECT_NE(shard_recipe(config, 1), off);
  config.data.decontaminate.common_above = -1;
  expect_error(ErrorKind::invalid, {"data.decontaminate.common_above = -1"}, [&] { validate(config); });
}

}  // namespace
}  // namespace hadal::data
