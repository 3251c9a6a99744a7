// A build that ranks divide: the same bytes as one rank's, whatever their number; one clear error when one of them
// fails; nothing is lost of a build that was interrupted.
#include <set>

#include "base/file_size_limit.h"
#include "data/corpus_report.h"
#include "data/divided_build_testing.h"
#include "data/file_shares.h"
#include "data/near_duplicate_search.h"

namespace hadal::data {
namespace {

Config build_of(const TempDir& dir, const DataConfig& data, const std::string& cache) {
  Config config;
  config.data = data;
  config.data.cache = (dir / cache).string();
  config.tokenizer.vocab_size = 400;
  return config;
}

TEST(DividedBuild, HasTheBytesOfOneRankWhateverTheNumberOfRanks) {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    TempDir dir;
    DataConfig data = made_corpus(dir, seed);
    if (seed == 2) data.near_duplicates.across = Across::source, data.holdout = Holdout::tail;
    if (seed == 3) data.decontaminate.common_above = 3;
    const Divided one = build_on_ranks(1, build_of(dir, data, "1"));
    const auto wanted = files_below(dir / "1");
    ASSERT_GT(wanted.size(), 10u);
    const ShardIndex index = read_index(dir / "1/shards");
    int64_t copies = 0, cut = 0;
    std::set<std::string> rules;
    for (const SourceCounts& counts : index.counts) {
      copies += counts.duplicates, cut += counts.cut_bytes;
      for (const auto& [rule, by] : counts.by_rule) rules.insert(rule.substr(0, rule.find('.')));
    }
    EXPECT_GT(copies, 20);
    EXPECT_GT(cut, 20);
    EXPECT_EQ(rules, (std::set<std::string>{"decontaminate", "gopher_quality", "near_duplicates"}))
        << "something to do";
    EXPECT_EQ(index.notes.size(), seed == 3 ? 2u : 1u) << "groups of words that are common";
    for (const int n : {2, 3, 5}) {
      const Divided many = build_on_ranks(n, build_of(dir, data, std::to_string(n)));
      EXPECT_TRUE(many.built);
      EXPECT_EQ(many.said, one.said) << n;
      const auto files = files_below(dir / std::to_string(n));
      ASSERT_EQ(files.size(), wanted.size()) << n;
      for (const auto& [name, bytes] : wanted) EXPECT_TRUE(files.at(name) == bytes) << name << " of " << n << " ranks";
    }
  }
}

TEST(DividedBuild, TheFirstCopyInCorpusOrderStaysWhicheverRankReadsIt) {
  TempDir dir;
  // The last file is the largest: the first rank reads it, and others what stands in front of it.
  write_jsonl(dir / "d/1.jsonl", {"one", "two", "both"});
  write_jsonl(dir / "d/2.jsonl", {"both", "three", "one, and more words of its own"});
  write_jsonl(dir / "d/3.jsonl", {"three", "both", "four", "one", random_text(3000, 1)});
  DataConfig config;
  config.sources = {source_of("d", dir / "d")};
  config.holdout_fraction = 0;
  for (const int n : {1, 2, 3, 4}) {
    on_ranks(n, [&](Group& ranks, const Exec&) {
      const Corpus corpus = Corpus::scan(config, kQuiet, {.ranks = &ranks});
      if (n == 3) {
        EXPECT_EQ(FileShares(corpus.sources(), n).rank_of({0, 2}), 0);
      }
      std::string fates;
      for (int64_t d = 0; d < corpus.n_documents(); ++d) fates += corpus.facts(d).fate == Fate::training ? '.' : 'x';
      EXPECT_EQ(fates, "...x..xx.x.") << "rank " << ranks.rank() << " of " << n;
    });
  }
}

TEST(DividedBuild, ScansOfASampleAndOfBrokenOffBucketsAreThoseOfOneRank) {
  TempDir dir;
  RandomStream random{5, stream_id("test.broken_off")};
  std::string common;
  for (int i = 0; i < 70; ++i) common += made_word(random) + " ";
  for (int f = 0; f < 4; ++f) {
    std::vector<std::string> texts;
    for (int i = 0; i < 430; ++i) {
      texts.push_back(common);
      for (int word = 0; word < 25; ++word) texts.back() += made_word(random) + " ";
      if (i % 50 == 0) texts.push_back(texts.back() + "alike");
    }
    write_jsonl(dir / fmt::format("d/{}.jsonl", f), texts);
  }
  DataConfig config;
  config.sources = {source_of("d", dir / "d")};
  config.near_duplicates = {.across = Across::all, .buckets = 3, .hashes = 1};
  for (const double sample : {1.0, 0.5}) {
    const Corpus one = Corpus::scan(config, kQuiet, {.sample = sample});
    ASSERT_GT(one.near_duplicates().size(), 0u);
    if (sample == 1) {
      ASSERT_EQ(one.notes().size(), 1u) << "a bucket is broken off";
    }
    for (const int n : {sample == 1 ? 3 : 2})
      on_ranks(n, [&](Group& ranks, const Exec& exec) {
        const Corpus corpus =
            Corpus::scan(config, kQuiet, {.pool = &exec.compute->pool(), .sample = sample, .ranks = &ranks});
        EXPECT_EQ(corpus.near_duplicates(), one.near_duplicates());
        EXPECT_EQ(corpus.fingerprint(), one.fingerprint());
        EXPECT_EQ(corpus.notes(), one.notes());
        if (ranks.leads()) {
          EXPECT_EQ(Corpus::table(corpus.sources(), corpus.counts()), Corpus::table(one.sources(), one.counts()));
        }
      });
  }
}

TEST(DividedBuild, EachRankReadsAndComparesItsPart) {
  std::vector<SourceFiles> sources(2);
  for (const int64_t bytes : {10, 1, 7, 1}) sources[0].files.push_back({"", bytes});
  for (const int64_t bytes : {3, 9, 0, 5}) sources[1].files.push_back({"", bytes});
  const FileShares shares(sources, 3);
  std::vector<int64_t> read(3);
  for (int rank = 0; rank < 3; ++rank)
    for (const FilePlace& place : shares.of_rank(rank))
      read[size_t(rank)] += sources[place.source].files[place.file].bytes;
  EXPECT_EQ(read[0] + read[1] + read[2], 36);
  for (const int64_t bytes : read) EXPECT_NEAR(double(bytes), 12, 2);

  const int64_t documents = 3000;
  on_ranks(3, [&](Group& ranks, const Exec&) {
    BucketKeys keys(4);  // pairs of neighbours, which different ranks read, share one bucket of four
    for (int64_t d = ranks.rank(); d < documents; d += 3) {
      std::vector<uint64_t> own;
      for (int64_t bucket = 0; bucket < 4; ++bucket)
        own.push_back(uint64_t(bucket == d / 2 % 4 ? d / 2 : 100'000 + 4 * d + bucket));
      if (d >= documents - 10) own = {1'000'001 + 4 * uint64_t(d), 2, 3, 4}, own[1] += 4'000'000 + 16 * uint64_t(d);
      if (d >= documents - 10) own[2] = 5'000'000 + 16 * uint64_t(d), own[3] = 6'000'000 + 16 * uint64_t(d);
      keys.add(d, own, 0);
    }
    const auto by = who_compares(ranks, keys, documents);
    std::vector<int64_t> compared(3);
    for (int64_t d = 0; d < documents - 10; ++d) {
      ASSERT_LT(by[size_t(d)], 3u);
      EXPECT_EQ(by[size_t(d)], by[size_t(d ^ 1)]) << "a pair is compared by one rank";
      ++compared[by[size_t(d)]];
    }
    for (int64_t d = documents - 10; d < documents; ++d) EXPECT_EQ(by[size_t(d)], kNobody);
    for (const int64_t n : compared) EXPECT_NEAR(double(n), double(documents - 10) / 3, 2);
  });
}

TEST(DividedBuild, AnErrorOfOneRankEndsAllWithOneLine) {
  TempDir dir;
  const DataConfig data = made_corpus(dir, 3);
  const auto build = [&](const DataConfig& of, const std::string& cache = "cache") {
    build_on_ranks(3, build_of(dir, of, cache));
  };
  DataConfig stops = data;
  stops.on_bad_line = OnBadLine::stop;
  expect_error(ErrorKind::corrupt, {"rank ", "c.jsonl' line 1: not valid JSON"}, [&] { build(stops); });
  EXPECT_FALSE(fs::exists(dir / "cache/shards/index.json"));
  DataConfig missing = data;
  missing.sources[0].paths.push_back((dir / "nowhere.txt").string());
  expect_error(ErrorKind::not_found, {"rank 0: ", "nowhere.txt"}, [&] { build(missing); });
  DataConfig binary = data;
  binary.sources[0].paths.push_back((dir / "books/zeros.bin").string());
  expect_error(ErrorKind::invalid, {"zeros.bin' is a binary file"}, [&] { build(binary); });
  DataConfig held_out = data;
  held_out.holdout_fraction = 1;
  expect_error(ErrorKind::invalid, {"rank 0: all text is held out"}, [&] { build(held_out); });
  {
    FileSizeLimit little(20'000);
    expect_error(ErrorKind::io, {"cannot write", ".shard"},
                 [&] { build_on_ranks(3, build_of(dir, data, "cache"), 200'000); });
    little.end();
  }
  EXPECT_FALSE(fs::exists(dir / "cache/shards/index.json"));
  build(data);
}

TEST(DividedBuild, GoesOnWithWhatAnyNumberOfRanksLeft) {
  TempDir dir;
  const DataConfig data = made_corpus(dir, 4);
  const Config config = build_of(dir, data, "cache");
  build_on_ranks(2, config);
  const auto wanted = files_below(dir / "cache");
  EXPECT_FALSE(build_on_ranks(3, config).built) << "up to date: the others are not needed";
  int64_t removed = 0;
  for (const auto& [name, bytes] : wanted)
    if (name.ends_with(".train.shard") && removed++ % 2 == 0) fs::remove(dir / "cache" / name);
  fs::remove(dir / "cache/shards/index.json");
  ASSERT_GT(removed, 5);
  const Divided again = build_on_ranks(3, config);
  EXPECT_TRUE(again.built);
  EXPECT_EQ(again.units_kept, removed / 2);
  EXPECT_EQ(files_below(dir / "cache"), wanted);
}

}  // namespace
}  // namespace hadal::data
