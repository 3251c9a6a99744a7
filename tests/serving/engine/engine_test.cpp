// The engine's laws: a request's ids and log-probabilities are those that it gets alone and those of the trainer's
// forward, to the bit, whatever runs beside it: in any batch, chunk, block, prefix hit or miss, preempted or not. A
// model-based test drives it through random arrivals and cancellations over a cache of a few blocks.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <thread>

#include "base/expect_error.h"
#include "base/random.h"
#include "base/testing.h"
#include "model/small_model.h"

namespace hadal {
namespace {

using testing::small_config;
using testing::SmallModel;

ModelOptions options_of(Precision precision = Precision::fp32, AttentionForm form = AttentionForm::absorbed) {
  ModelOptions options;
  options.precision = precision, options.attention_form = form;
  return options;
}

std::vector<int32_t> random_ids(RandomStream& random, int64_t n, int64_t vocab = 37) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(int32_t(random.below(uint64_t(vocab))));
  return ids;
}

// What a request got, piece by piece and at its end.
struct Got {
  std::vector<int32_t> ids;
  std::vector<double> log_probs;
  std::vector<ScoredToken> prompt;
  std::optional<EngineResult> end;
  bool operator==(const Got& other) const {
    return ids == other.ids && log_probs == other.log_probs && same_prompt(other) && end.has_value() &&
           other.end.has_value() && end->reason == other.end->reason && end->error == other.end->error;
  }
  bool same_prompt(const Got& other) const {
    return std::equal(
        prompt.begin(), prompt.end(), other.prompt.begin(), other.prompt.end(),
        [](const ScoredToken& a, const ScoredToken& b) { return a.id == b.id && a.log_prob == b.log_prob; });
  }
};

EngineRequest into(EngineRequest request, Got& got) {
  request.on_token = [&got](const ScoredToken& token) {
    got.ids.push_back(token.id), got.log_probs.push_back(token.log_prob);
    return true;
  };
  request.on_end = [&got](const EngineResult& result) {
    EXPECT_FALSE(got.end.has_value()) << "a request ended twice";
    got.prompt = result.prompt, got.end = result;
  };
  return request;
}

void drain(Engine& engine) {
  while (engine.step()) {
  }
}

Got alone(SmallModel& small, const EngineRequest& request) {
  Got got;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .prefix_cache = false});
  engine.submit(into(request, got));
  drain(engine);
  return got;
}

// log p of every token but the first, by the forward that trains.
std::vector<double> by_forward(SmallModel& small, const std::vector<int32_t>& tokens) {
  MicroBatch batch;
  const int64_t n = int64_t(tokens.size()) - 1;
  batch.tokens.assign(tokens.begin(), tokens.end() - 1), batch.targets.assign(tokens.begin() + 1, tokens.end());
  for (int64_t i = 0; i < n; ++i) batch.positions.push_back(int32_t(i));
  batch.segments = {{0, n, 0, n}}, batch.sequences = {{0, n}};
  std::vector<double> log_probs;
  small.forward(batch, &log_probs);
  return log_probs;
}

TEST(Engine, LogProbabilitiesAreTheTrainersToTheBit) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
      SmallModel small(small_config(), options_of(precision, form), 2, isa);
      RandomStream random{5, stream_id("test.engine"), 0};
      EngineRequest request;
      request.prompt = random_ids(random, 140);
      request.max_tokens = 20, request.prompt_log_probs = true, request.n_top = 3, request.sampling.seed = 4;
      std::vector<ScoredToken> drawn;
      EngineResult end;
      request.on_token = [&](const ScoredToken& token) { return drawn.push_back(token), true; };
      request.on_end = [&](const EngineResult& result) { end = result; };
      Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .step_tokens = 70});
      engine.submit(request);
      drain(engine);
      ASSERT_EQ(drawn.size(), 20u);
      ASSERT_EQ(end.prompt.size(), 140u);
      std::vector<int32_t> text = request.prompt;
      for (const ScoredToken& token : drawn) text.push_back(token.id);
      std::vector<ScoredToken> scored(end.prompt.begin() + 1, end.prompt.end());
      scored.insert(scored.end(), drawn.begin(), drawn.end());
      const std::vector<double> expected = by_forward(small, text);
      ASSERT_EQ(expected.size(), scored.size());
      for (size_t i = 0; i < scored.size(); ++i) {
        ASSERT_EQ(scored[i].log_prob, expected[i]) << "token " << i + 1;
        ASSERT_EQ(scored[i].top.size(), 3u);
        EXPECT_GE(scored[i].top[0].log_prob, scored[i].top[1].log_prob);
        EXPECT_GE(scored[i].top[2].log_prob, -1e30);
        for (const TokenScore& top : scored[i].top) {
          if (top.id == scored[i].id) {
            EXPECT_EQ(top.log_prob, scored[i].log_prob);
          }
        }
      }
    }
  }
}

TEST(Engine, PromptsThatBeginAlikeShareBlocksAndGetTheSameBits) {
  SmallModel small(small_config(), options_of());
  RandomStream random{6, stream_id("test.engine"), 0};
  EngineRequest request;
  request.prompt = random_ids(random, 128), request.max_tokens = 70, request.sampling.seed = 1;
  const Got expected = alone(small, request);
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 16});
  for (const int64_t cached : {0, 64, 64}) {  // never all of a prompt: its last token gives the logits
    Got got;
    engine.submit(into(request, got));
    drain(engine);
    EXPECT_TRUE(got == expected);
    EXPECT_EQ(got.end->n_cached, cached);
  }
  EngineRequest longer = request;  // goes on from the text that was written: a second turn
  longer.prompt.insert(longer.prompt.end(), expected.ids.begin(), expected.ids.end());
  longer.max_tokens = 5;
  Got got;
  engine.submit(into(longer, got));
  drain(engine);
  EXPECT_EQ(got.end->n_cached, 192);
  EXPECT_TRUE(got == alone(small, longer));
  EXPECT_EQ(engine.counts().cached_tokens, 64 + 64 + 192);
}

TEST(Engine, RefusesWhatCanNeverRunAndNamesIt) {
  SmallModel small(small_config(), options_of());
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 2});
  EXPECT_EQ(engine.longest_text(), 128);
  const auto with = [&](const auto& spoil) {
    EngineRequest request;
    request.prompt = {1, 2}, request.max_tokens = 4;
    spoil(request);
    return hadal::testing::error_of([&] { engine.submit(request); });
  };
  using R = EngineRequest;
  EXPECT_EQ(with([](R&) {}), "");
  EXPECT_EQ(with([](R& r) { r.prompt.clear(); }), "the prompt is empty; give at least one token");
  EXPECT_EQ(with([](R& r) { r.prompt = {1, 37}; }), "token id 37 must lie in 0 .. 36");
  EXPECT_EQ(with([](R& r) { r.prompt = {-1}; }), "token id -1 must lie in 0 .. 36");
  EXPECT_EQ(with([](R& r) { r.max_tokens = -1; }), "max_tokens = -1 must be at least 0");
  EXPECT_EQ(with([](R& r) { r.max_tokens = 511; }),
            "2 prompt tokens and 511 new ones make 513, more than the model's 512 positions");
  EXPECT_NE(with([](R& r) { r.max_tokens = INT64_MAX; }), "");
  EXPECT_EQ(with([](R& r) { r.max_tokens = 127; }),
            "2 prompt tokens and 127 new ones make 129, more than the 128 that the cache holds");
  EXPECT_EQ(with([](R& r) { r.min_tokens = 5; }), "min_tokens = 5 must lie in 0 .. max_tokens = 4");
  EXPECT_EQ(with([](R& r) { r.n_top = 38; }), "38 of the most likely ids are asked for; it must be 0 .. 37");
  EXPECT_EQ(with([](R& r) { r.sampling.top_p = 0; }), "top_p = 0 must lie in (0, 1]");
  EXPECT_NE(with([](R& r) { r.sampling.logit_bias = {{1, 1e9}}; }).find("the bias of token 1"), std::string::npos);
}

TEST(Engine, StopsAtIdsNotBeforeTheFewestAndReadsPromptsAlone) {
  SmallModel small(small_config(), options_of());
  EngineRequest request;
  request.prompt = {3, 1, 4}, request.max_tokens = 30, request.sampling.temperature = 0;
  const Got whole = alone(small, request);
  EXPECT_EQ(whole.end->reason, EndReason::length);
  EXPECT_EQ(whole.end->n_generated, 30);
  request.stop = {whole.ids[5]};
  const Got stopped = alone(small, request);
  EXPECT_EQ(stopped.end->reason, EndReason::stop);
  EXPECT_EQ(stopped.ids.back(), request.stop[0]);
  EXPECT_LE(stopped.ids.size(), 6u);
  request.min_tokens = 12;
  const Got later = alone(small, request);
  EXPECT_TRUE(later.ids.size() > 12 || later.end->reason == EndReason::length);
  EXPECT_EQ(std::count(later.ids.begin(), later.ids.begin() + 12, request.stop[0]), 0);
  request.sampling.logit_bias = {{7, 100}};  // above all others
  request.stop.clear(), request.min_tokens = 0;
  const Got biased = alone(small, request);
  EXPECT_EQ(std::count(biased.ids.begin(), biased.ids.end(), 7), 30);
  EXPECT_NE(biased.log_probs[0], 0);  // the model's own, before the bias
  request.max_tokens = 0, request.prompt_log_probs = true;
  const Got read = alone(small, request);
  EXPECT_EQ(read.end->reason, EndReason::length);
  EXPECT_TRUE(read.ids.empty());
  EXPECT_EQ(read.prompt.size(), 3u);
  const std::vector<double> expected = by_forward(small, request.prompt);
  EXPECT_EQ(read.prompt[1].log_prob, expected[0]);
  EXPECT_EQ(read.prompt[2].log_prob, expected[1]);
}

// NaN in the latents of one text ends that text; its neighbour goes on as if alone.
TEST(Engine, AnAnswerThatIsNotFiniteEndsItsRequestAlone) {
  SmallModel small(small_config(), options_of());
  const Tensor embedding = small.model.parameter("embedding").value.plain;
  for (int64_t c = 0; c < embedding.cols(); ++c) set_element(embedding, 36 * embedding.cols() + c, std::nan(""));
  EngineRequest good, bad;
  good.prompt = {3, 1, 4}, good.max_tokens = 20, good.allowed_ids = 36;
  bad.prompt = {3, 36}, bad.max_tokens = 20;
  const Got expected = alone(small, good);
  Got a, b;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
  engine.submit(into(good, a)), engine.submit(into(bad, b));
  drain(engine);
  EXPECT_TRUE(a == expected);
  EXPECT_EQ(b.end->reason, EndReason::failed);
  EXPECT_NE(b.end->error.find("damaged or diverged"), std::string::npos) << b.end->error;
  EXPECT_EQ(engine.counts().blocks_used, 0);
}

TEST(Engine, RunsOnAThreadOfItsOwnAndEndsWhatIsLeft) {
  SmallModel small(small_config(), options_of());
  EngineRequest request;
  request.prompt = {3, 1, 4}, request.max_tokens = 400;
  const Got expected = alone(small, request);
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 32});
  std::vector<Got> got(6);
  std::jthread thread([&](std::stop_token stop) { engine.run(stop); });
  for (size_t i = 0; i + 1 < got.size(); ++i) engine.submit(into(request, got[i]));
  while (engine.counts().running + engine.counts().waiting > 0) std::this_thread::yield();
  engine.submit(into(request, got.back()));
  thread.request_stop();
  thread.join();
  for (size_t i = 0; i + 1 < got.size(); ++i) EXPECT_TRUE(got[i] == expected) << i;
  EXPECT_TRUE(got.back().end.has_value());  // cancelled, unless it was faster
}

// --- the model-based test ---

struct Event {
  EngineRequest request;
  std::optional<Got> expected;
  Got got;
  uint64_t id = 0;
  bool cancelled = false;
};

struct Soak {
  int64_t blocks = 6, max_running = 5, step_tokens = 90;
  bool prefix_cache = true;
  int64_t requests = 60;
};

// Random requests over few prompts that begin alike; some are cancelled. Every one that ends gets what it gets alone.
EngineCounts soak(SmallModel& small, const Soak& how, uint64_t seed, const std::string& trace) {
  SCOPED_TRACE(trace);
  RandomStream random{seed, stream_id("test.engine.soak"), 0};
  const std::vector<int32_t> trunk = random_ids(random, 300);
  Engine engine(small.owned.exec, small.model,
                {.cache_blocks = how.blocks,
                 .max_running = how.max_running,
                 .step_tokens = how.step_tokens,
                 .prefix_cache = how.prefix_cache});
  std::vector<std::unique_ptr<Event>> events;
  int64_t cancels = 0, ended = 0;
  const auto arrive = [&] {
    auto event = std::make_unique<Event>();
    EngineRequest& r = event->request;
    const int64_t shared = int64_t(random.below(200)), own = 1 + int64_t(random.below(40));
    r.prompt.assign(trunk.begin(), trunk.begin() + shared);
    for (const int32_t id : random_ids(random, own)) r.prompt.push_back(id);
    r.max_tokens = int64_t(random.below(120));
    r.max_tokens = std::min(r.max_tokens, how.blocks * 64 - int64_t(r.prompt.size()));
    r.prompt_log_probs = random.below(4) == 0;
    r.n_top = int64_t(random.below(2));
    r.sampling.seed = random.below(1000), r.sampling.temperature = random.below(3) == 0 ? 0.0 : 0.9;
    if (random.below(3) == 0) r.sampling.top_p = 0.8;
    if (random.below(3) == 0) r.sampling.repetition_penalty = 1.2;
    if (random.below(3) == 0) r.stop = random_ids(random, 1);
    event->expected = alone(small, r);
    event->id = engine.submit(into(r, event->got));
    events.push_back(std::move(event));
  };
  for (int64_t step = 0; ended < how.requests; ++step) {
    if (int64_t(events.size()) < how.requests && random.below(3) == 0) arrive();
    if (!events.empty() && random.below(25) == 0) {
      Event& event = *events[size_t(random.below(events.size()))];
      if (!event.got.end) engine.cancel(event.id), event.cancelled = true, ++cancels;
    }
    engine.step();
    ended = std::count_if(events.begin(), events.end(), [](const auto& e) { return e->got.end.has_value(); });
    if (step > 100000) ADD_FAILURE() << "it never ends";
    if (::testing::Test::HasFailure()) break;
  }
  for (const auto& event : events) {
    const Got &got = event->got, &expected = *event->expected;
    if (!got.end) continue;
    if (got.end->reason != EndReason::cancelled) {
      EXPECT_TRUE(got == expected) << "request " << event->id;
      continue;
    }
    EXPECT_TRUE(event->cancelled) << "request " << event->id;
    EXPECT_TRUE(std::equal(got.ids.begin(), got.ids.end(), expected.ids.begin()));  // a beginning of it
  }
  EXPECT_GT(cancels, 0);
  EXPECT_EQ(engine.counts().running + engine.counts().waiting, 0);
  if (!how.prefix_cache) {
    EXPECT_EQ(engine.counts().blocks_used, 0);
  }
  return engine.counts();
}

TEST(EngineSoak, EveryRequestGetsWhatItGetsAlone) {
  for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
    SmallModel small(small_config(), options_of(Precision::bf16, form));
    const EngineCounts narrow = soak(small, {}, 1, "few blocks");
    EXPECT_GT(narrow.preemptions, 0);
    EXPECT_GT(narrow.cached_tokens, 0);
    EXPECT_GT(narrow.evictions, 0);
    const EngineCounts wide = soak(small, {.blocks = 40, .max_running = 16, .step_tokens = 200}, 2, "many blocks");
    EXPECT_EQ(wide.preemptions, 0);
    EXPECT_GT(wide.cached_tokens, 0);
    const EngineCounts apart = soak(small, {.prefix_cache = false}, 3, "nothing shared");
    EXPECT_EQ(apart.cached_tokens, 0);
    EXPECT_GT(apart.preemptions, 0);
  }
}

}  // namespace
}  // namespace hadal
