// Weights of long documents: how often they come in an epoch, and that the stream stays a function of its cursor.
#include <cmath>
#include <map>

#include "config/config_io.h"
#include "data/data_testing.h"

namespace hadal::data {
namespace {

constexpr int64_t kShort = 20, kLong = 12;

// Documents of 6 letters, then of 50.
struct MixedLengths : Fixture {
  MixedLengths(int64_t long_tokens, double long_weight) : Fixture({texts()}) {
    config.data.sequence_length = 64;
    config.data.sources[0].long_tokens = long_tokens;
    config.data.sources[0].long_weight = long_weight;
  }
  static std::vector<std::string> texts() {
    std::vector<std::string> all;
    for (int64_t i = 0; i < kShort; ++i) all.push_back(random_text(6, uint64_t(i) + 1));
    for (int64_t i = 0; i < kLong; ++i) all.push_back(random_text(50, uint64_t(i) + 100));
    return all;
  }
};

// How often each document begins, by epoch, in the first n epochs that are whole.
std::map<std::pair<int64_t, int64_t>, int64_t> times_given(Loader& loader, int64_t n_epochs) {
  std::map<std::pair<int64_t, int64_t>, int64_t> times;
  while (loader.epochs(0) < double(n_epochs + 2))
    for (const Sequence& sequence : loader.next(8).sequences)
      for (const Passage& passage : sequence.passages)
        if (passage.begins && passage.epoch < n_epochs) ++times[{passage.epoch, passage.document}];
  loader.next(64);
  return times;
}

TEST(LongDocuments, ComeAsOftenAsTheirWeightSays) {
  for (const double weight : {3.0, 2.5, 0.25}) {
    MixedLengths f(50, weight);
    const Prepared p = f.prepare();
    Loader loader(p.shards, p.tokenizer, f.config.data);
    constexpr int64_t kEpochs = 40;
    const auto times = times_given(loader, kEpochs);
    double sum = 0;
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch)
      for (int64_t d = 0; d < kShort + kLong; ++d) {
        const auto found = times.find({epoch, d});
        const int64_t n = found == times.end() ? 0 : found->second;
        if (p.shards.document(Split::training, 0, d).n_tokens < 50) {
          EXPECT_EQ(n, 1) << "a short one";
          continue;
        }
        sum += double(n);
        EXPECT_TRUE(n == int64_t(weight) || n == int64_t(std::ceil(weight))) << n << " times at " << weight;
      }
    EXPECT_NEAR(sum / double(kEpochs * kLong), weight, 0.07);  // of 480 draws, four standard deviations are 0.09
  }
}

TEST(LongDocuments, OfWeightOneChangeNothing) {
  MixedLengths plain(0, 1), said(50, 1);
  const Prepared p = plain.prepare(), q = said.prepare();
  Loader one(p.shards, p.tokenizer, plain.config.data), other(q.shards, q.tokenizer, said.config.data);
  for (int i = 0; i < 50; ++i) {
    const Batch a = one.next(1), b = other.next(1);
    EXPECT_EQ(a.sequences[0].tokens, b.sequences[0].tokens);
  }
}

TEST(LongDocuments, AreFoundAgainFromACursor) {
  MixedLengths f(50, 1.5);
  const Prepared p = f.prepare();
  Loader whole(p.shards, p.tokenizer, f.config.data);
  for (int cut = 0; cut < 40; ++cut) {
    Loader again(p.shards, p.tokenizer, f.config.data);
    again.seek(whole.cursor());
    const Batch expected = whole.next(3);
    const Batch found = again.next(3);
    for (size_t s = 0; s < 3; ++s) EXPECT_EQ(found.sequences[s].tokens, expected.sequences[s].tokens) << cut;
  }
  MixedLengths g(50, 2.5);
  const Prepared q = g.prepare();
  Loader other(q.shards, q.tokenizer, g.config.data);
  expect_error(ErrorKind::invalid, {"other text, tokenizer or data settings"}, [&] { other.seek(whole.cursor()); });
}

TEST(LongDocuments, CountInTheNaturalShareOfTheirSource) {
  std::vector<std::string> plain;
  for (int i = 0; i < 30; ++i) plain.push_back(random_text(24, uint64_t(i) + 900));
  MixedLengths f(50, 4);
  write_jsonl(f.directory / "plain.jsonl", plain);
  f.config.data.sources.push_back(source_of("plain", f.directory / "plain.jsonl"));
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const double weighted = 20.0 * 6 + 4 * 12.0 * 50, other = 30.0 * 24;
  EXPECT_NEAR(loader.weights()[0], weighted / (weighted + other), 1e-9);
}

TEST(LongDocuments, AreWeighedOnlyWhereItIsSaidWhichTheyAre) {
  Config config;
  config.model.vocab_size = 300;
  config.data.sources = {{.name = "a", .paths = {"x"}, .long_weight = 2}};
  expect_error(ErrorKind::invalid, {"data.sources.0.long_weight = 2", "long_tokens is 0"}, [&] { validate(config); });
  config.data.sources[0].long_tokens = 100;
  config.data.sources[0].long_weight = 0;
  expect_error(ErrorKind::invalid, {"data.sources.0.long_weight", "between 0.01 and 100"}, [&] { validate(config); });
}

}  // namespace
}  // namespace hadal::data
