// Text is held out where it was asked for: also of a single file, whose hash says nothing.
#include "base/testing.h"
#include "data/corpus.h"
#include "data/corpus_report.h"
#include "data/data_testing.h"
#include "data/heldout.h"

namespace hadal::data {
namespace {

using testing::has;

DataConfig config_of(const fs::path& path, Holdout holdout, double fraction) {
  DataConfig config;
  config.sources = {source_of("s", path)};
  config.holdout = holdout;
  config.holdout_fraction = fraction;
  return config;
}

std::string training_text(const Corpus& corpus) {
  const auto next = corpus.training_texts();
  std::string all;
  for (std::string text; next(text);) all += text;
  return all;
}

// Documents of which none is held out by its hash at this fraction, as most single files are.
std::vector<std::string> not_chosen(int64_t n, double fraction) {
  std::vector<std::string> documents;
  TempDir dir;
  for (uint64_t seed = 1; int64_t(documents.size()) < n; ++seed) {
    const std::string text = random_text(1000 + int64_t(seed), seed);
    write_jsonl(dir / "a.jsonl", {text, random_text(50, seed + 1000)});
    const Corpus corpus = Corpus::scan(config_of(dir / "a.jsonl", Holdout::hash, fraction), kQuiet);
    if (corpus.facts(0).fate == Fate::training) documents.push_back(text);
  }
  return documents;
}

TEST(Holdout, WhereNoHashIsChosenTheTailsAreHeldOutAndTheIndexSaysSo) {
  for (const int64_t n : {1, 3}) {
    Fixture f(one_source(not_chosen(n, 0.02)));
    f.config.data.holdout_fraction = 0.02;
    std::vector<std::string> said;
    PrepareOptions options;
    options.say = [&](const std::string& text) { said.push_back(text); };
    for (const bool built : {true, false}) {  // said at every start, from the index
      said.clear();
      const Prepared p = f.prepare(options);
      EXPECT_EQ(p.built, built);
      EXPECT_TRUE(p.shards.index().tails_instead);
      EXPECT_EQ(p.shards.n_documents(Split::held_out, 0), n);
      EXPECT_EQ(p.shards.n_documents(Split::training, 0), n);
      ASSERT_FALSE(said.empty());
      EXPECT_TRUE(has(said.back(), "of each is held out instead, as by data.holdout = \"tail\"")) << said.back();
      EXPECT_EQ(int64_t(heldout_documents(p.shards, p.tokenizer, f.config.data).size()), n);
    }
  }
}

TEST(Holdout, TheSplitIsThatOfTail) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", not_chosen(2, 0.1));
  const Corpus fallen = Corpus::scan(config_of(dir / "a.jsonl", Holdout::hash, 0.1), kQuiet);
  const Corpus tail = Corpus::scan(config_of(dir / "a.jsonl", Holdout::tail, 0.1), kQuiet);
  EXPECT_EQ(training_text(fallen), training_text(tail));
  EXPECT_EQ(fallen.config().holdout, Holdout::tail);
  EXPECT_EQ(fallen.counts()[0].training_bytes, tail.counts()[0].training_bytes);
  EXPECT_EQ(fallen.counts()[0].held_out_bytes, tail.counts()[0].held_out_bytes);
  EXPECT_EQ(fallen.counts()[0].held_out, 2);
  EXPECT_NE(fallen.fingerprint(), Corpus::scan(config_of(dir / "a.jsonl", Holdout::hash, 0), kQuiet).fingerprint());
}

TEST(Holdout, AFileThatIsHeldOutWholeByItsHashIsDividedInstead) {
  TempDir dir;
  for (uint64_t seed = 1;; ++seed) {  // one whose hash is below a half
    write_text(dir / "a.txt", random_text(1000, seed));
    write_text(dir / "b.txt", random_text(1000, seed + 500));
    DataConfig both = config_of(dir / "a.txt", Holdout::hash, 0.5);
    both.sources[0].paths.push_back((dir / "b.txt").string());
    const Corpus pair = Corpus::scan(both, kQuiet);
    if (pair.config().holdout == Holdout::hash && pair.facts(0).fate == Fate::held_out) break;
  }
  const Corpus corpus = Corpus::scan(config_of(dir / "a.txt", Holdout::hash, 0.5), kQuiet);
  EXPECT_EQ(corpus.config().holdout, Holdout::tail);
  EXPECT_EQ(corpus.facts(0).fate, Fate::training);
  EXPECT_EQ(training_text(corpus),
            training_text(Corpus::scan(config_of(dir / "a.txt", Holdout::tail, 0.5), kQuiet)));
  EXPECT_EQ(corpus.counts()[0].held_out_bytes, corpus.counts()[0].bytes - corpus.counts()[0].training_bytes);
}

TEST(Holdout, ACorpusWithHeldOutTextKeepsItsSplit) {
  TempDir dir;
  std::vector<std::string> documents;
  for (uint64_t i = 0; i < 400; ++i) documents.push_back(random_text(100, i));
  write_jsonl(dir / "a.jsonl", documents);
  const Corpus corpus = Corpus::scan(config_of(dir / "a.jsonl", Holdout::hash, 0.02), kQuiet);
  EXPECT_EQ(corpus.config().holdout, Holdout::hash);
  EXPECT_GT(corpus.counts()[0].held_out, 0);
  EXPECT_EQ(corpus.counts()[0].held_out + corpus.counts()[0].training, 400);
}

TEST(Holdout, NothingIsHeldOutUnasked) {
  TempDir dir;
  write_text(dir / "a.txt", random_text(5000, 1));
  const Corpus corpus = Corpus::scan(config_of(dir / "a.txt", Holdout::hash, 0), kQuiet);
  EXPECT_EQ(corpus.counts()[0].held_out_bytes, 0);
  EXPECT_EQ(corpus.config().holdout, Holdout::hash);
}

TEST(Holdout, WhatStaysWithoutValidationSaysWhy) {
  ShardIndex index;
  index.counts.resize(1);
  DataConfig config;
  config.holdout_fraction = 0.02;
  EXPECT_TRUE(has(heldout_note(index, config), "too little"));
  config.holdout_fraction = 0;
  EXPECT_TRUE(has(heldout_note(index, config), "nothing to read: data.holdout_fraction is 0"));
  index.counts[0].held_out_bytes = 1;
  EXPECT_EQ(heldout_note(index, config), "");
  Fixture tiny(one_source({"few words"}));  // 2 % of nine bytes are none
  tiny.config.data.holdout_fraction = 0.02;
  const Prepared p = tiny.prepare();
  EXPECT_FALSE(p.shards.index().tails_instead);
  EXPECT_EQ(p.shards.n_documents(Split::held_out, 0), 0);
}

TEST(Holdout, AnIndexOfAnEarlierVersionKeepsItsSplit) {
  Fixture f(one_source(not_chosen(1, 0.02)));
  f.config.data.holdout_fraction = 0.02;
  f.prepare();
  const fs::path path = f.directory / "cache/shards/index.json";
  std::string index = read_file(path);
  const size_t at = index.find(" \"tails_instead\": true,\n");
  ASSERT_NE(at, std::string::npos);
  write_text(path, index.erase(at, 24));
  const Prepared p = f.prepare();
  EXPECT_FALSE(p.built);
  EXPECT_FALSE(p.shards.index().tails_instead);
}

}  // namespace
}  // namespace hadal::data
