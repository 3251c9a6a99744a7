// Constrained texts in the engine, with constraints written by hand: only allowed ids are drawn, the text ends where it
// may and must, log-probabilities are the model's own, and it is one text alone, in a batch, drafted and preempted.
#include "engine/constraint.h"

#include "base/expect_error.h"
#include "engine/engine_testing.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

constexpr int64_t kVocabulary = 37;
constexpr int32_t kStop = 36;

// After id t only ids (2t + 1 .. 2t + width) mod 36 may come; a text may end at every multiple of `ends`, and where
// `most` ids are written nothing may come any more.
struct Rule {
  int64_t width = 5, ends = 7, most = 1000;
  int64_t fails_at = -1;
};

class RuledText : public ConstrainedText {
 public:
  explicit RuledText(const Rule& rule) : rule_(rule), bits_(2) {}
  std::span<const uint32_t> allowed() override {
    std::fill(bits_.begin(), bits_.end(), 0U);
    if (written_ == rule_.most) return bits_;
    for (int64_t i = 1; i <= rule_.width; ++i) {
      const int64_t id = (2 * last_ + i) % 36;
      bits_[size_t(id / 32)] |= 1U << (id % 32);
    }
    return bits_;
  }
  bool may_end() const override { return written_ > 0 && written_ % rule_.ends == 0; }
  void accept(int32_t id) override {
    check(written_ != rule_.fails_at, ErrorKind::invalid, "the rule says so");
    const auto now = allowed();
    EXPECT_TRUE(now[size_t(id / 32)] >> (id % 32) & 1) << id << " after " << last_;
    last_ = id, ++written_;
  }

 private:
  Rule rule_;
  std::vector<uint32_t> bits_;
  int64_t last_ = 0, written_ = 0;
};

class Ruled : public Constraint {
 public:
  explicit Ruled(const Rule& rule) : rule_(rule) {}
  std::unique_ptr<ConstrainedText> begin() const override { return std::make_unique<RuledText>(rule_); }

 private:
  Rule rule_;
};

EngineRequest ruled_request(uint64_t seed, int64_t n_prompt, int64_t max_tokens, const Rule& rule) {
  RandomStream random{seed, stream_id("test.constraint"), 0};
  EngineRequest request;
  request.prompt = random_ids(random, n_prompt, kVocabulary);
  request.max_tokens = max_tokens;
  request.sampling.seed = seed;
  request.stop = {kStop};
  request.constraint = std::make_shared<Ruled>(rule);
  return request;
}

void expect_ruled(const Got& got, const Rule& rule) {
  RuledText text(rule);
  for (size_t i = 0; i < got.ids.size(); ++i) {
    const int32_t id = got.ids[i];
    if (id == kStop) {
      EXPECT_TRUE(text.may_end());
      EXPECT_EQ(i + 1, got.ids.size());
      return;
    }
    const auto allowed = text.allowed();
    ASSERT_TRUE(allowed[size_t(id / 32)] >> (id % 32) & 1);
    text.accept(id);
  }
}

TEST(ConstrainedText, OnlyAllowedIdsAreDrawnAndLogProbabilitiesAreTheModels) {
  SmallModel small(small_config(), options_of());
  for (const double temperature : {0.0, 1.0, 3.0}) {
    const Rule rule;
    EngineRequest request = ruled_request(3, 20, 60, rule);
    request.sampling.temperature = temperature;
    request.sampling.logit_bias = {{kStop, 3}};
    request.n_top = 3;
    const Got got = alone(small, request);
    ASSERT_FALSE(got.ids.empty());
    expect_ruled(got, rule);
    std::vector<int32_t> tokens = request.prompt;
    tokens.insert(tokens.end(), got.ids.begin(), got.ids.end());
    std::vector<double> expected;
    small.forward(batch_of_tokens(tokens), &expected);
    for (size_t i = 0; i < got.ids.size(); ++i)
      EXPECT_EQ(got.log_probs[i], expected[request.prompt.size() - 1 + i]) << "token " << i;
  }
}

TEST(ConstrainedText, IsOneTextAloneInABatchDraftedAndPreempted) {
  SmallModel small(small_config(), options_of());
  std::vector<EngineRequest> requests;
  std::vector<Got> expected;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Rule rule{.width = int64_t(1 + seed % 3 * 4)};
    requests.push_back(ruled_request(seed, 30 + int64_t(seed) * 17, 70, rule));
    if (seed == 5) requests.back().constraint = nullptr;
    expected.push_back(alone(small, requests.back()));
    if (seed < 5) expect_ruled(expected.back(), rule);
  }
  const EngineOptions conditions[] = {{.cache_blocks = 40, .prefix_cache = false},
                                      {.cache_blocks = 40, .step_tokens = 9},
                                      {.cache_blocks = 40, .drafts = 1},
                                      {.cache_blocks = 40, .drafts = 4},
                                      {.cache_blocks = 6},
                                      {.cache_blocks = 6, .drafts = 2}};
  int64_t preempted = 0, accepted = 0;
  for (const EngineOptions& options : conditions) {
    Engine engine(small.owned.exec, small.model, options);
    std::vector<Got> got(requests.size());
    for (size_t r = 0; r < requests.size(); ++r) engine.submit(into(requests[r], got[r]));
    drain(engine);
    for (size_t r = 0; r < requests.size(); ++r)
      EXPECT_TRUE(got[r] == expected[r]) << "request " << r << ", " << options.cache_blocks << " blocks, "
                                         << options.drafts << " drafts";
    preempted += engine.counts().preemptions, accepted += engine.counts().drafts.all_right();
  }
  EXPECT_GT(preempted, 0);
  EXPECT_GT(accepted, 0);
}

TEST(ConstrainedText, EndsWhereNothingMayFollow) {
  SmallModel small(small_config(), options_of());
  for (const int64_t drafts : {0, 1, 3}) {
    for (const int64_t width : {1, 5}) {
      EngineRequest request = ruled_request(2, 10, 50, {.width = width, .ends = 9, .most = 9});
      request.stop.clear();
      request.min_tokens = 30;
      Got got;
      Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .drafts = drafts});
      engine.submit(into(request, got));
      drain(engine);
      EXPECT_EQ(got.ids.size(), 9u);
      EXPECT_EQ(got.end->reason, EndReason::stop);
      EXPECT_EQ(got.end->n_generated, 9);
    }
  }
}

TEST(ConstrainedText, ThatCannotGoOnFailsItsRequestAlone) {
  SmallModel small(small_config(), options_of());
  EngineRequest dead_end = ruled_request(2, 10, 50, {.ends = 8, .most = 5});
  EngineRequest failing = ruled_request(3, 10, 50, {.ends = 100, .fails_at = 4});
  EngineRequest suppressed = ruled_request(4, 10, 50, {.width = 1, .ends = 100});
  suppressed.sampling.suppressed = {1};
  const EngineRequest neighbour = ruled_request(5, 10, 50, {});
  const Got expected = alone(small, neighbour);
  Got a, b, c, d;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
  engine.submit(into(dead_end, a)), engine.submit(into(failing, b));
  engine.submit(into(suppressed, c)), engine.submit(into(neighbour, d));
  drain(engine);
  for (const Got* got : {&a, &b, &c}) {
    EXPECT_EQ(got->end->reason, EndReason::failed);
    EXPECT_EQ(got->end->error_kind, ErrorKind::invalid);
  }
  EXPECT_EQ(a.ids.size(), 5u);
  EXPECT_EQ(a.end->error.find("at position 15: no token can be drawn: what the constraint allows here"), 0u)
      << a.end->error;
  EXPECT_TRUE(b.ids.size() == 4 || b.ids.size() == 5) << "the one that the rule refuses, or the next is the last";
  EXPECT_EQ(b.end->error, "at position 14: the rule says so");
  EXPECT_EQ(c.ids.size(), 0u);
  EXPECT_TRUE(d == expected);
}

// A text that begins anew begins its constraint anew.
TEST(ConstrainedText, BeginsAnewWithNewWeights) {
  SmallModel small(small_config(), options_of());
  const Rule rule;
  const EngineRequest request = ruled_request(7, 20, 40, rule);
  const Got expected = alone(small, request);
  Got got;
  EngineRequest asked = into(request, got);
  int restarts = 0;
  asked.on_restart = [&] { got.ids.clear(), got.log_probs.clear(), ++restarts; };
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
  engine.submit(std::move(asked));
  for (int i = 0; i < 6; ++i) engine.step();
  auto swapped = engine.swap_weights([] {}, SwapWeights::restart);
  drain(engine);
  swapped.get();
  EXPECT_EQ(restarts, 1);
  EXPECT_EQ(got.ids, expected.ids);
  EXPECT_EQ(got.log_probs, expected.log_probs);
}

}  // namespace
}  // namespace hadal
