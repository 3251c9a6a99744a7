// Near duplicates: the law of MinHash, all pairs compared by other means, and which copy stays. 20,000 documents:
// near_duplicates_proof_test.cpp.
#include "data/near_duplicates.h"

#include <cmath>
#include <numeric>

#include "config/config_io.h"
#include "data/corpus_report.h"
#include "data/min_hash.h"
#include "data/near_duplicates_testing.h"
#include "data/removed.h"

namespace hadal::data {
namespace {

// Of n pairs of sets with this similarity (unions of 200), how many agree in a bucket.
int64_t agreeing(const MinHash& min_hash, int64_t shared, int64_t n) {
  RandomStream random{uint64_t(shared), stream_id("test.curve")};
  std::vector<uint64_t> a(static_cast<size_t>(min_hash.buckets())), b(a.size());
  int64_t agree = 0;
  for (int64_t pair = 0; pair < n; ++pair) {
    std::vector<uint64_t> both(200);
    for (uint64_t& group : both) group = random.bits();
    const int64_t apart = 200 - shared, left = shared + apart / 2;  // in a: [0, left); in b: the rest and the shared
    min_hash.keys(std::span(both).first(size_t(left)), a.data());
    std::rotate(both.begin(), both.begin() + shared, both.begin() + left);
    min_hash.keys(std::span(both).subspan(size_t(left - shared)), b.data());
    bool any = false;
    for (size_t i = 0; i < a.size(); ++i) any |= a[i] == b[i];
    agree += any;
  }
  return agree;
}

TEST(MinHash, PairsShareABucketAsOftenAsTheFormulaSays) {
  const NearDuplicatesConfig config;
  const int64_t n = 1000;
  int64_t off = 0;
  for (int64_t shared = 100; shared <= 190; shared += 10) {
    const double s = double(shared) / 200, p = config.found(s), band = 3.5 * std::sqrt(double(n) * p * (1 - p)) + 0.5;
    EXPECT_NEAR(double(agreeing(MinHash(14, 8), shared, n)), double(n) * p, band) << s;
    off += std::abs(double(agreeing(MinHash(14, 7), shared, n)) - double(n) * p) > band;
  }
  EXPECT_GE(off, 5) << "another number of hashes leaves the band";
}

TEST(MinHash, TheFormulaHasThePublishedValues) {
  const NearDuplicatesConfig config;
  const std::pair<double, double> published[] = {{0.4, .0091},  {0.5, .0533}, {0.6, .2111},  {0.7, .5645},
                                                 {0.75, .7716}, {0.8, .9235}, {0.85, .9884}, {0.9, .9996}};
  for (const auto& [s, p] : published) EXPECT_NEAR(config.found(s), p, 6e-5) << s;
}

TEST(MinHash, JaccardIsIntersectionOverUnion) {
  const std::vector<uint64_t> a{1, 2, 3, 4}, b{3, 4, 5}, none;
  EXPECT_EQ(jaccard(a, b), 2.0 / 5);
  EXPECT_EQ(jaccard(a, a), 1);
  EXPECT_EQ(jaccard(a, none), 0);
}

TEST(NearDuplicates, AreThoseFoundByComparingAllPairs) { expect_as_by_comparing_all(1500, 1); }

DataConfig alike(const std::vector<SourceConfig>& sources, Across across = Across::all) {
  DataConfig config;
  config.sources = sources;
  config.near_duplicates.across = across;
  config.holdout_fraction = 0;
  return config;
}

std::vector<std::string> left(const Corpus& corpus) {
  std::vector<std::string> texts;
  const auto next = corpus.training_texts();
  for (std::string text; next(text);) texts.push_back(text);
  return texts;
}

const std::string kStory =
    "The old man went down to the sea with his boat in the morning, and when the sun stood high he came back with "
    "nothing but a torn net and a story that nobody in the village wanted to hear again. ";

const std::string kOther = "Nobody had asked for it, but there it stood: a house of glass on the hill above the town.";

TEST(NearDuplicates, TheCorpusIsTheSameForAnyNumberOfThreads) {
  TempDir dir;
  const auto texts = families(4000, 2);
  write_jsonl(dir / "a.jsonl", texts);
  write_jsonl(dir / "b.jsonl", families(500, 2));
  DataConfig config = alike({source_of("a", dir / "a.jsonl"), source_of("b", dir / "b.jsonl")});
  config.sources[0].rules = {"gopher_quality"};
  config.sources[0].limits.gopher_quality = {.min_words = 105, .min_stop_words = 0};
  const Corpus serial = Corpus::scan(config, kQuiet);
  EXPECT_GT(serial.near_duplicates().size(), 500u);
  EXPECT_GT(serial.counts()[0].by_rule.at("gopher_quality.min_words").documents, 20);
  for (const int threads : {2, 3, 8}) {
    ThreadPool pool(threads);
    const Corpus corpus = Corpus::scan(config, kQuiet, {.pool = &pool});
    EXPECT_EQ(corpus.fingerprint(), serial.fingerprint()) << threads;
    EXPECT_EQ(corpus.near_duplicates(), serial.near_duplicates()) << threads;
    EXPECT_EQ(Corpus::table(corpus.sources(), corpus.counts()), Corpus::table(serial.sources(), serial.counts()));
  }
}

TEST(NearDuplicates, TheFirstInCorpusOrderStays) {
  TempDir dir;
  write_text(dir / "d/b.txt", kStory + "b");
  write_text(dir / "d/a.txt", kOther);
  write_jsonl(dir / "c.jsonl", {"something else", kStory + "c", kStory + "b!", "something more"});
  const SourceConfig folder = source_of("d", dir / "d"), file = source_of("c", dir / "c.jsonl");
  EXPECT_EQ(left(Corpus::scan(alike({folder, file}), kQuiet)),
            (std::vector<std::string>{kOther, kStory + "b", "something else", "something more"}));
  EXPECT_EQ(left(Corpus::scan(alike({file, folder}), kQuiet)),
            (std::vector<std::string>{"something else", kStory + "c", "something more", kOther}));
  const Corpus corpus = Corpus::scan(alike({file, folder}), kQuiet);
  EXPECT_EQ(corpus.counts()[0].by_rule.at("near_duplicates").documents, 1);
  EXPECT_EQ(corpus.counts()[1].by_rule.at("near_duplicates").alone, 1);
  EXPECT_EQ(corpus.counts()[0].filtered_bytes, int64_t(kStory.size() + 2));
}

TEST(NearDuplicates, AcrossSourcesOrInsideOfOne) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", {kStory, kStory + "again"});
  write_jsonl(dir / "b.jsonl", {kStory + "once", "other words stand here"});
  std::vector<SourceConfig> sources{source_of("a", dir / "a.jsonl"), source_of("b", dir / "b.jsonl")};
  EXPECT_EQ(left(Corpus::scan(alike(sources), kQuiet)).size(), 2u);
  EXPECT_EQ(left(Corpus::scan(alike(sources, Across::source), kQuiet)).size(), 3u);
  EXPECT_EQ(left(Corpus::scan(alike(sources, Across::off), kQuiet)).size(), 4u);
  sources[1].near_duplicates = false;
  EXPECT_EQ(left(Corpus::scan(alike(sources), kQuiet)).size(), 3u) << "a source that is not asked";
}

TEST(NearDuplicates, MathsWorksheetsStayApartWhereNumbersAreKept) {
  TempDir dir;
  std::vector<std::string> sheets;
  for (int i = 0; i < 30; ++i) {
    sheets.emplace_back("Work out: ");
    for (int k = 1; k < 15; ++k) sheets.back() += fmt::format("what is {} + {} = ? ", 3 * i + k, i * k + 7);
  }
  write_jsonl(dir / "maths.jsonl", sheets);
  DataConfig config = alike({source_of("maths", dir / "maths.jsonl")});
  EXPECT_EQ(left(Corpus::scan(config, kQuiet)).size(), 1u) << "all numbers are one: so are all worksheets";
  config.sources[0].keep_numbers = true;
  EXPECT_EQ(left(Corpus::scan(config, kQuiet)).size(), 30u);
  config.sources[0].keep_numbers = false, config.near_duplicates.fold_numbers = false;
  EXPECT_EQ(left(Corpus::scan(config, kQuiet)).size(), 30u);
}

TEST(NearDuplicates, DocumentsOfFewWordsGoOnlyBesideTheirEqual) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl",
              {"one two three four", "one two three", "One, two: three!", "...", "…", "!?", "one two"});
  EXPECT_EQ(left(Corpus::scan(alike({source_of("a", dir / "a.jsonl")}), kQuiet)),
            (std::vector<std::string>{"one two three four", "one two three", "...", "…", "!?", "one two"}));
}

TEST(NearDuplicates, ChainsAreOneClusterAndItsLeastSimilarPairIsShown) {
  TempDir dir;
  std::vector<std::string> chain;
  for (int step = 0; step < 12; ++step) {  // each three words further on in one long text
    chain.emplace_back();
    for (int w = 3 * step; w < 3 * step + 60; ++w)
      chain.back() += fmt::format("w{} ", std::string(size_t(w % 97 + 1), 'x'));
  }
  write_jsonl(dir / "a.jsonl", chain);
  const DataConfig config = alike({source_of("a", dir / "a.jsonl")});
  EXPECT_EQ(left(Corpus::scan(config, kQuiet)).size(), 1u);
  const RemovedDocuments removed = removed_documents(config, "near_duplicates", 3, kQuiet);
  EXPECT_EQ(removed.n, 11);
  ASSERT_EQ(removed.shown.size(), 3u);
  EXPECT_NEAR(removed.shown[0].refusal.value, 53.0 / 59, 1e-9);
  EXPECT_NE(removed.largest_cluster.find("12 documents; the least similar two"), std::string::npos);
  EXPECT_NE(removed.largest_cluster.find("line 12, 0.258"), std::string::npos) << removed.largest_cluster;  // 23 / 89
}

TEST(NearDuplicates, AreShownBesideTheOneThatStaysWithTheWordsThatDiffer) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", {"unlike", kStory + "early", kStory + "late again"});
  const DataConfig config = alike({source_of("a", dir / "a.jsonl")});
  const RemovedDocuments removed = removed_documents(config, "near", 5, kQuiet);
  const std::string text = removed_text(removed);
  for (const char* part : {"line 3\n  near_duplicates: 0.9", "limit 0.8", "stays: '", "line 2",
                           "here alone: late again; there alone: early", "1 of 1 removed"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  EXPECT_NE(removed_html(removed).find("here alone: late again"), std::string::npos);
  EXPECT_EQ(removed_documents(config, "gopher", 5, kQuiet).n, 0);
}

TEST(NearDuplicates, ABucketOfThousandsThatAreNotAlikeIsBrokenOffAndCounted) {
  const NearDuplicatesConfig config{.across = Across::all, .buckets = 2, .hashes = 1};
  const uint64_t n = 1500;
  std::vector<uint32_t> documents(n);
  std::iota(documents.begin(), documents.end(), 0u);
  NearDuplicates near(config, documents);
  for (uint32_t d = n; d-- > 0;) {
    const uint64_t own = d == n - 1 ? n - 2 : d;
    near.give(d, std::vector<uint64_t>{7, own}, std::vector<uint64_t>{own});
  }
  const auto gone = near.decide();
  EXPECT_EQ(gone, (std::vector<NearDuplicate>{{uint32_t(n - 1), uint32_t(n - 2)}})) << "found by its other bucket";
  EXPECT_GT(near.n_broken_off(), 0);
}

TEST(NearDuplicates, GroupsThatAreManyGoThroughAFile) {
  ScratchNumbers scratch;
  std::vector<uint64_t> numbers(300'000), read;
  std::iota(numbers.begin(), numbers.end(), 5);
  scratch.append(std::span(numbers).first(10));
  scratch.append(std::span(numbers).subspan(10, 290'000));
  scratch.append(std::span(numbers).subspan(290'010));
  ASSERT_EQ(scratch.size(), 300'000);
  for (const auto& [at, n] :
       {std::pair<int64_t, int64_t>{0, 20}, {289'000, 2000}, {299'999, 1}, {0, 300'000}, {7, 0}}) {
    scratch.read(at, n, read);
    EXPECT_TRUE(std::equal(read.begin(), read.end(), numbers.begin() + at)) << at;
    EXPECT_EQ(int64_t(read.size()), n);
  }
}

TEST(NearDuplicates, SettingsThatMakeNoSenseAreRefusedByName) {
  Config config;
  config.data.near_duplicates.threshold = 0.9;
  expect_error(ErrorKind::invalid, {"data.near_duplicates", "across"}, [&] { validate(config); });
  config.data.near_duplicates.across = Across::all;
  validate(config);
  config.data.near_duplicates.threshold = 0.5;
  expect_error(ErrorKind::invalid, {"threshold = 0.5", "5.3 %"}, [&] { validate(config); });
  config.data.near_duplicates.buckets = 100;
  config.data.near_duplicates.hashes = 4;
  validate(config);
  config.data.near_duplicates.threshold = 1.5;
  expect_error(ErrorKind::invalid, {"threshold = 1.5"}, [&] { validate(config); });
}

TEST(Corpus, OfWhichNothingIsLeftNamesTheRule) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", {"too few words", "and here as well", "a b"});
  DataConfig config = alike({source_of("a", dir / "a.jsonl")});
  config.sources[0].rules = {"gopher_quality"};
  expect_error(ErrorKind::invalid, {"3 documents", "most by the rule gopher_quality.min_words (3)"},
               [&] { Corpus::scan(config, kQuiet); });
}

TEST(Corpus, OfASampleHoldsTheSameDocumentsWhateverTheirPlace) {
  TempDir dir;
  auto texts = families(2000, 3);
  write_jsonl(dir / "a.jsonl", texts);
  std::reverse(texts.begin(), texts.end());
  write_jsonl(dir / "b.jsonl", texts);
  const auto counted = [&](const std::string& file) {
    return Corpus::scan(alike({source_of("a", dir / file)}, Across::off), kQuiet, {.sample = 0.1}).counts()[0];
  };
  EXPECT_NEAR(double(counted("a.jsonl").documents), 200, 41);
  EXPECT_EQ(counted("a.jsonl").bytes, counted("b.jsonl").bytes);
  const Corpus half = Corpus::scan(alike({source_of("a", dir / "a.jsonl")}), kQuiet, {.sample = 0.5});
  EXPECT_GT(half.near_duplicates().size(), 50u) << "pairs in it are compared";
}

TEST(Prepare, ABuildThatRemovesNearDuplicatesGoesOnWhereItStopped) {
  std::vector<std::string> texts = families(300, 4);
  Fixture f(one_source(texts));
  f.config.data.near_duplicates.across = Across::all;
  f.config.data.sequence_length = 64;
  const Prepared first = f.prepare({.unit_bytes = 20'000});
  ASSERT_GT(first.shards.index().files.size(), 3u);
  EXPECT_GT(first.shards.index().counts[0].by_rule.at("near_duplicates").documents, 30);
  EXPECT_FALSE(f.prepare({.unit_bytes = 20'000}).built);
  fs::remove(f.directory / "cache/shards" / first.shards.index().files[2]);
  const Prepared again = f.prepare({.unit_bytes = 20'000});
  EXPECT_TRUE(again.built);
  EXPECT_GT(again.units_kept, 0);
  EXPECT_EQ(again.shards.index().plan, first.shards.index().plan);
  f.config.data.near_duplicates.threshold = 0.9;
  EXPECT_TRUE(f.prepare({.unit_bytes = 20'000}).built);
}

}  // namespace
}  // namespace hadal::data
