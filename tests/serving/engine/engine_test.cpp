// The engine's laws: a request's ids and log-probabilities are those that it gets alone and those of the trainer's
// forward, to the bit, whatever runs beside it: in any batch, chunk, block, prefix hit or miss, with drafts or without.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <thread>

#include "base/expect_error.h"
#include "base/testing.h"
#include "engine/engine_testing.h"

namespace hadal {
namespace {

using testing::small_config;
using namespace engine_testing;

// log p of every token but the first, by the forward that trains.
std::vector<double> by_forward(SmallModel& small, const std::vector<int32_t>& tokens) {
  std::vector<double> log_probs;
  small.forward(batch_of_tokens(tokens), &log_probs);
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

// Of a step that trains, with its backward, on the very weights that are served: one target at a time, its loss is the
// engine's log-probability.
TEST(Engine, LogProbabilitiesAreThoseOfATrainingStepToTheBit) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
      ModelOptions options = options_of(precision, form);
      options.training = true;
      SmallModel small(small_config(), options);
      RandomStream random{15, stream_id("test.engine"), 0};
      EngineRequest request;
      request.prompt = random_ids(random, 90);
      request.max_tokens = 0, request.prompt_log_probs = true;
      const Got scored = alone(small, request);
      ASSERT_EQ(scored.prompt.size(), 90u);
      LossWeights weights{.main = 1};
      weights.mtp.assign(size_t(small.model.config().n_mtp), 0.5);
      for (const size_t row : {0u, 1u, 40u, 63u, 64u, 88u}) {
        MicroBatch batch = batch_of_tokens(request.prompt);
        for (size_t i = 0; i < batch.targets.size(); ++i)
          if (i != row) batch.targets[i] = -1;
        small.model.begin_step();
        const LossSums sums = small.forward_backward(batch, weights);
        EXPECT_EQ(sums.main_count, 1);
        EXPECT_EQ(-sums.main, scored.prompt[row + 1].log_prob) << "row " << row;
      }
      EXPECT_TRUE(alone(small, request) == scored) << "training changed no weight";
    }
  }
}

// The same text with drafts and without, in every arithmetic, whether none, some or all of them are right.
TEST(Engine, DraftsChangeNoBit) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
      SmallModel small(small_config(), options_of(precision, form), 2, isa);
      for (const double bias : {-100.0, 4.0, 100.0}) {
        RandomStream random{8, stream_id("test.engine"), 0};
        EngineRequest request;
        request.prompt = random_ids(random, 70);
        request.max_tokens = 90, request.n_top = 1, request.sampling.seed = 4;
        request.sampling.logit_bias = {{5, bias}};
        const Got plain = alone(small, request);
        for (const int64_t drafts : {1, 2, 3}) {
          Got drafted;
          Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .step_tokens = 50, .drafts = drafts});
          engine.submit(into(request, drafted));
          int64_t steps = 0;
          while (engine.step()) ++steps;
          EXPECT_TRUE(drafted == plain) << "bias " << bias << ", drafts " << drafts;
          const DraftCounts counts = engine.counts().drafts;
          EXPECT_EQ(steps, 2 + 89 - counts.all_right()) << "bias " << bias;  // two of the prompt
          EXPECT_GT(counts.tried[size_t(drafts - 1)], 15);
          if (bias == 100) {
            EXPECT_EQ(counts.all_right(), counts.all_tried());
          } else {
            EXPECT_LT(counts.all_right(), counts.all_tried());
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
  EXPECT_ERROR(Engine(small.owned.exec, small.model, {.cache_bytes = 1000}), ErrorKind::invalid,
               "a cache of 1000 B holds no block of 64 tokens; the least that does is ");
  EXPECT_EQ(
      Engine(small.owned.exec, small.model, {.cache_bytes = 3 * small.model.cache_block_bytes() + 5}).longest_text(),
      192);
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

// What scores continuations of one context: rows before the first token that is asked for come from the cache.
TEST(Engine, ScoresTheEndOfAPromptFromTheCacheOfItsBeginning) {
  SmallModel small(small_config(), options_of());
  RandomStream random{12, stream_id("test.engine"), 0};
  EngineRequest request;
  request.prompt = random_ids(random, 150);
  request.max_tokens = 0, request.prompt_log_probs = true, request.n_top = 1;
  const std::vector<double> expected = by_forward(small, request.prompt);
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 12});
  for (const int64_t from : {140, 100, 149, 64, 1}) {
    Got got;
    request.scored_from = from;
    engine.submit(into(request, got));
    drain(engine);
    const int64_t first = std::max<int64_t>(1, from);
    ASSERT_EQ(int64_t(got.prompt.size()), 150 - (from == 1 ? 0 : from)) << from;
    for (int64_t i = first; i < 150; ++i)
      ASSERT_EQ(got.prompt[got.prompt.size() - size_t(150 - i)].log_prob, expected[size_t(i - 1)]) << from << " " << i;
    EXPECT_EQ(got.end->n_cached, from == 140 || from == 1 ? 0 : (from - 1) / 64 * 64) << from;
  }
  request.prompt = random_ids(random, small.model.config().max_positions + 1);  // nothing is predicted behind the last
  request.scored_from = 1;
  Got whole;
  Engine wide(small.owned.exec, small.model, {.cache_blocks = cache_blocks_of(small.model.config().max_positions)});
  wide.submit(into(request, whole));
  drain(wide);
  EXPECT_EQ(whole.prompt.size(), request.prompt.size());
  EXPECT_EQ(whole.prompt.back().log_prob, by_forward(small, request.prompt).back());
  request.prompt.push_back(1);
  EXPECT_ERROR(wide.submit(request), ErrorKind::invalid, "positions");
  request.prompt = {1, 2, 1000};
  EXPECT_ERROR(wide.submit(request), ErrorKind::invalid, "token id 1000");
  request.prompt = random_ids(random, 150), request.scored_from = 150;
  EXPECT_ERROR(engine.submit(request), ErrorKind::invalid, "scored_from = 150");
}

// Weights exchanged while one request runs and another waits: each is answered by one set of weights alone, and what
// the cache holds of the old ones is not used again.
TEST(Engine, ExchangesWeightsBetweenStepsAndNeverMixesThem) {
  SmallModel small(small_config(), options_of());
  RandomStream random{10, stream_id("test.engine"), 0};
  EngineRequest request;
  request.prompt = random_ids(random, 130), request.max_tokens = 30, request.sampling.seed = 2;
  request.prompt_log_probs = true;
  const auto scale = [&](double factor) {
    return [&small, factor] {
      const Tensor kv_a = small.model.parameter("layers.1.attention.kv_a").value.plain;
      for (int64_t i = 0; i < kv_a.count(); ++i) set_element(kv_a, i, factor * element(kv_a, i));
    };
  };
  const Got old = alone(small, request);
  scale(2)();
  const Got changed = alone(small, request);
  scale(0.5)();
  ASSERT_FALSE(changed == old);
  for (const SwapWeights how : {SwapWeights::finish, SwapWeights::restart}) {
    Engine engine(small.owned.exec, small.model, {.cache_blocks = 12, .max_running = 1});
    Got first, second, third;
    EngineRequest one = into(request, first);
    int64_t restarts = 0;
    one.on_restart = [&] { ++restarts, first.ids.clear(), first.log_probs.clear(); };
    engine.submit(one);
    for (int i = 0; i < 5; ++i) engine.step();
    engine.submit(into(request, second));
    std::future<void> done = engine.swap_weights(scale(2), how);
    drain(engine);
    done.get();
    EXPECT_EQ(engine.weights_version(), 1);
    EXPECT_EQ(restarts, how == SwapWeights::restart);
    EXPECT_TRUE(first == (how == SwapWeights::finish ? old : changed));
    EXPECT_EQ(first.end->weights_version, how == SwapWeights::restart);
    EXPECT_TRUE(second == changed);
    EngineRequest again = request;  // a prompt that the cache knows, by weights that are not there any more
    again.prompt_log_probs = false;
    engine.swap_weights(scale(0.5), how);
    engine.submit(into(again, third));
    drain(engine);
    EXPECT_EQ(third.ids, old.ids);
    EXPECT_EQ(third.log_probs, old.log_probs);
    std::future<void> failing = engine.swap_weights([] { fail(ErrorKind::corrupt, "no such weights"); }, how);
    drain(engine);
    EXPECT_ERROR(failing.get(), ErrorKind::corrupt, "no such weights");
    EXPECT_EQ(engine.weights_version(), 2);
  }
}

// Whoever waits for an exchange learns that the engine has ended, also one who asks afterwards.
TEST(Engine, AnEngineThatHasEndedRefusesWeights) {
  SmallModel small(small_config(), options_of());
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
  Got got;
  EngineRequest request;
  request.prompt = {3, 1, 4}, request.max_tokens = 400;
  std::future<void> waiting;
  std::stop_source stop;
  request.on_token = [&](const ScoredToken&) {
    if (!waiting.valid()) waiting = engine.swap_weights([] {}, SwapWeights::finish);
    return !stop.request_stop();  // the first time true
  };
  engine.submit(request);
  engine.run(stop.get_token());
  EXPECT_ERROR(waiting.get(), ErrorKind::failed, "the engine has ended");
  EXPECT_ERROR(engine.swap_weights([] {}, SwapWeights::restart).get(), ErrorKind::failed, "the engine has ended");
  EXPECT_EQ(engine.weights_version(), 0);
}

// Each step reads all matrices once, whatever it computes with them, and of the experts those that its rows choose.
TEST(Engine, CountsTheBytesOfWeightsThatItsStepsRead) {
  for (const auto& [precision, bytes] : {std::pair(Precision::fp32, 4.0), {Precision::bf16, 2.0}}) {
    SmallModel small(small_config(), options_of(precision));
    const ModelConfig& config = small.model.config();
    const TouchedWeights elements = touched_weights(config);
    const TouchedWeights touched = touched_bytes(config, small.model.parameters());
    EXPECT_EQ(touched.experts, bytes * elements.experts);
    EXPECT_GE(touched.always, bytes * elements.always);  // routers stay in fp32
    EXPECT_LT(touched.always, 1.1 * bytes * elements.always);
    EngineRequest request;
    request.prompt = {3, 1, 4, 1, 5}, request.max_tokens = 8;
    Engine engine(small.owned.exec, small.model, {.cache_blocks = 8});
    engine.submit(request);
    drain(engine);
    EXPECT_NEAR(engine.counts().weight_bytes, touched.by(5) + 7 * touched.by(1), 1);
    EXPECT_GT(touched.by(5), touched.by(1));
  }
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

}  // namespace
}  // namespace hadal
