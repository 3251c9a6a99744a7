// Sampling and generation: greedy is the argmax, filters filter, noise depends on seed and position alone, and cached
// decoding equals the full forward.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/expect_error.h"
#include "base/not_finite.h"
#include "base/random.h"
#include "engine/generator.h"

namespace hadal {
namespace {

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOnTies) {
  const std::vector<float> logits = {1, 5, 5, 2};
  SamplingOptions greedy;
  greedy.temperature = 0;
  EXPECT_EQ(sample_token(logits, 4, greedy, 0), 1);
  EXPECT_EQ(sample_token(logits, 1, greedy, 0), 0);  // rows that pad the vocabulary are never drawn
}

TEST(Sampler, FollowsTheProbabilities) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  std::vector<int> counts(3);
  const int n = 20000;
  for (int i = 0; i < n; ++i) ++counts[size_t(sample_token(logits, 3, {.seed = 9}, i))];
  EXPECT_NEAR(counts[0] / double(n), 0.5, 0.015);
  EXPECT_NEAR(counts[1] / double(n), 0.3, 0.015);
  EXPECT_NEAR(counts[2] / double(n), 0.2, 0.015);
}

TEST(Sampler, Filters) {
  const std::vector<float> logits = {0, 1, 2, 3};
  const auto drawn = [&](SamplingOptions options) {
    std::set<int32_t> ids;
    for (int i = 0; i < 500; ++i) ids.insert(sample_token(logits, 4, options, i));
    return ids;
  };
  EXPECT_EQ(drawn({}).size(), 4u);
  EXPECT_EQ(drawn({.top_k = 2}), (std::set<int32_t>{2, 3}));
  EXPECT_EQ(drawn({.top_p = 0.5}), (std::set<int32_t>{3}));
  EXPECT_EQ(drawn({.min_p = 0.3}), (std::set<int32_t>{2, 3}));
  EXPECT_EQ(drawn({.temperature = 0.01}), (std::set<int32_t>{3}));
}

TEST(Sampler, SuppressedTokensAreNeverDrawn) {
  const std::vector<float> logits = {0, 1, 2, 3};
  EXPECT_EQ(sample_token(logits, 4, {.temperature = 0, .suppressed = {3, 9, -1}}, 0), 2);
  std::set<int32_t> ids;
  for (int i = 0; i < 500; ++i) ids.insert(sample_token(logits, 4, {.suppressed = {3, 0}}, i));
  EXPECT_EQ(ids, (std::set<int32_t>{1, 2}));
  EXPECT_EQ(sample_token(logits, 4, {.top_k = 1, .suppressed = {3}}, 0), 2) << "top-k is of those that may be drawn";
  EXPECT_ERROR(sample_token(logits, 2, {.suppressed = {0, 1}}, 0), ErrorKind::invalid, "suppressed");
}

// Repetition: what stands in prompt or text, divided above zero and multiplied below (CTRL, section 4.1). Presence and
// frequency: what stands in the text alone, once and per time (as OpenAI's API defines them).
TEST(Sampler, PenaltiesMakeWhatWasWrittenLessLikely) {
  const std::vector<float> before = {2, -2, 1, 4, 0.5f};
  const auto after = [&](const SamplingOptions& options) {
    std::vector<float> logits = before;
    penalise(logits, std::vector<int32_t>{0, 1, 1, 77}, std::vector<int32_t>{3, 3, 1}, options);
    return logits;
  };
  EXPECT_EQ(after({}), before);
  EXPECT_EQ(after({.repetition_penalty = 2}), (std::vector<float>{1, -4, 1, 2, 0.5f}));
  EXPECT_EQ(after({.presence_penalty = 0.5}), (std::vector<float>{2, -2.5f, 1, 3.5f, 0.5f}));
  EXPECT_EQ(after({.frequency_penalty = 0.25}), (std::vector<float>{2, -2.25f, 1, 3.5f, 0.5f}));
  EXPECT_EQ(after({.repetition_penalty = 0.5, .presence_penalty = -1}), (std::vector<float>{4, 0, 1, 9, 0.5f}));
  EXPECT_EQ(after({.logit_bias = {{0, 3}, {4, -1}, {77, 5}}}), (std::vector<float>{5, -2, 1, 4, -0.5f}));
  EXPECT_EQ(after({.presence_penalty = 0.5, .logit_bias = {{3, 1}}}), (std::vector<float>{2, -2.5f, 1, 4.5f, 0.5f}));
  EXPECT_ERROR(validate({.logit_bias = {{7, std::nanf("")}}}), ErrorKind::invalid, "the bias of token 7");
  EXPECT_ERROR(validate({.repetition_penalty = 0}), ErrorKind::invalid, "repetition_penalty = 0");
  EXPECT_ERROR(validate({.presence_penalty = std::nan("")}), ErrorKind::invalid, "presence_penalty");
}

TEST(Sampler, NoiseBelongsToSeedAndPositionWhateverElseIsDrawn) {
  const std::vector<float> logits = {0, 1, 2, 3};
  const auto draw = [&](uint64_t seed, int64_t position) { return sample_token(logits, 4, {.seed = seed}, position); };
  std::vector<int32_t> forward, backward(50);
  for (int64_t i = 0; i < 50; ++i) forward.push_back(draw(1, i));
  std::vector<int32_t> other;
  for (int64_t i = 49; i >= 0; --i) {  // another order, with other texts in between
    other.push_back(draw(2, i));
    backward[size_t(i)] = draw(1, i);
  }
  EXPECT_EQ(backward, forward);
  std::reverse(other.begin(), other.end());
  EXPECT_NE(other, forward);
  EXPECT_NE(std::set<int32_t>(forward.begin(), forward.end()).size(), 1u) << "this test proves nothing";
}

// The same draw as sample_token makes, from all logits, in order where there is a filter.
int32_t draw_from_sorted(const std::vector<float>& logits, const SamplingOptions& o, int64_t position) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) { return logits[size_t(a)] > logits[size_t(b)]; };
  if (o.top_k > 0 || o.top_p < 1 || o.min_p > 0) std::stable_sort(ids.begin(), ids.end(), likelier);
  const double best = *std::max_element(logits.begin(), logits.end());
  if (o.top_k > 0) ids.resize(std::min(ids.size(), size_t(o.top_k)));
  std::vector<double> p;
  double total = 0, sum = 0;
  for (int32_t id : ids) p.push_back(std::exp((double(logits[size_t(id)]) - best) / o.temperature));
  for (double one : p) total += one;
  size_t kept = 0;
  for (; kept < p.size() && p[kept] >= o.min_p && (kept == 0 || sum < o.top_p * total); ++kept) sum += p[kept];
  double left = random_uniform(o.seed, stream_id("engine.sample"), uint64_t(position)) * sum;
  for (size_t i = 0; i < kept; ++i)
    if ((left -= p[i]) < 0) return ids[i];
  return ids[kept - 1];
}

TEST(Sampler, DrawsWhatSortingAllLogitsDraws) {
  RandomStream random{5, stream_id("test.logits"), 0};
  std::set<int32_t> seen;
  for (int64_t position = 0; position < 300; ++position) {
    std::vector<float> logits(size_t(1 + random.below(700)));
    for (float& logit : logits) logit = float(random.below(40)) * 0.1f;  // many ties, also across the border of top-k
    for (int64_t k : {0, 1, 2, 7, 50, 699, 5000}) {
      const SamplingOptions options{.temperature = 0.7,
                                    .top_k = k,
                                    .top_p = position % 3 ? 0.8 : 1.0,
                                    .min_p = position % 2 ? 0.01 : 0.0,
                                    .seed = 11};
      const int32_t drawn = sample_token(logits, int64_t(logits.size()), options, position);
      ASSERT_EQ(drawn, draw_from_sorted(logits, options, position)) << logits.size() << " logits, top-k " << k;
      seen.insert(drawn);
    }
  }
  EXPECT_GT(seen.size(), 100u);
}

TEST(Sampler, RefusesNonsense) {
  EXPECT_ERROR(validate(SamplingOptions{.temperature = -1}), ErrorKind::invalid, "temperature = -1 must be at least 0");
  EXPECT_ERROR(validate(SamplingOptions{.top_p = 0}), ErrorKind::invalid, "top_p = 0 must lie in (0, 1]");
  EXPECT_ERROR(validate(SamplingOptions{.min_p = 2}), ErrorKind::invalid, "min_p = 2 must lie in [0, 1]");
  EXPECT_ERROR(validate(SamplingOptions{.top_k = -1}), ErrorKind::invalid,
               "top_k = -1 must be at least 0 (0 switches it off)");
  const std::vector<float> broken(3, std::numeric_limits<float>::quiet_NaN());
  EXPECT_ERROR(sample_token(broken, 3, {.temperature = 0}, 0), ErrorKind::failed,
               "the logit of token 0 is nan; the model's weights are damaged or diverged");
  // One NaN behind a good first logit would break the order that sorting by logit relies on.
  std::vector<float> one(200, 1.0f);
  one[100] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_ERROR(sample_token(one, 200, {}, 0), ErrorKind::failed,
               "the logit of token 100 is nan; the model's weights are damaged or diverged");
  EXPECT_NO_THROW(sample_token(one, 100, {}, 0));  // rows that pad the vocabulary do not matter
}

struct Small {
  explicit Small(int64_t positions = 64, int64_t n_mtp = 0) : owned(2) {
    config.vocab_size = 40;
    config.hidden_size = 16;
    config.n_layers = 2;
    config.n_heads = 2;
    config.kv_lora_rank = 8;
    config.qk_nope_head_dim = 4;
    config.qk_rope_head_dim = 4;
    config.v_head_dim = 4;
    config.dense_ffn_size = 24;
    config.expert_ffn_size = 8;
    config.n_routed_experts = 4;
    config.n_experts_per_token = 2;
    config.init_std = 0.3;
    config.max_positions = positions, config.n_mtp = n_mtp;
    model = std::make_unique<Transformer>(config, ModelOptions{}, owned.exec);
    model->initialize(owned.exec, 4);
  }
  OwnedExec owned;
  ModelConfig config;
  std::unique_ptr<Transformer> model;
};

GenerateResult generated(const Small& small, const EngineRequest& request, int64_t drafts = 0) {
  Engine engine = engine_for(small.owned.exec, *small.model, request, drafts);
  return generate(engine, request);
}

// By one forward without a cache: the text once per id, which is the target of its last row.
int32_t likeliest_next(const Small& small, const std::vector<int32_t>& text) {
  const int64_t n = int64_t(text.size()), ids = small.config.vocab_size;
  MicroBatch batch;
  for (int64_t id = 0; id < ids; ++id) {
    batch.segments.push_back({id * n, n, id * n, n});
    batch.sequences.push_back({id * n, n});
    for (int64_t i = 0; i < n; ++i) {
      batch.tokens.push_back(text[size_t(i)]);
      batch.positions.push_back(int32_t(i));
      batch.targets.push_back(i + 1 == n ? int32_t(id) : -1);
    }
  }
  std::vector<double> log_probs, of_id;
  small.model->forward(small.owned.exec, batch, {.log_probs = &log_probs});
  for (int64_t id = 0; id < ids; ++id) of_id.push_back(log_probs[size_t(id * n + n - 1)]);
  return int32_t(std::max_element(of_id.begin(), of_id.end()) - of_id.begin());
}

TEST(Generator, GreedyDecodingIsTheArgmaxOfTheFullForward) {
  Small small;
  EngineRequest request;
  request.prompt = {3, 1, 4, 1, 5};
  request.max_tokens = 12;
  request.sampling.temperature = 0;
  const auto result = generated(small, request);
  ASSERT_EQ(result.tokens.size(), 12u);
  auto text = request.prompt;
  std::set<int32_t> distinct;
  for (int32_t token : result.tokens) {
    EXPECT_EQ(likeliest_next(small, text), token) << "after " << text.size() << " tokens";
    text.push_back(token);
    distinct.insert(token);
  }
  EXPECT_GT(distinct.size(), 1u) << "this test proves nothing";
}

TEST(Generator, PacksTheWeightsWhereTheTokensRepayIt) {
  Small small, packed;
  EXPECT_FALSE(pack_for(packed.owned.exec, *packed.model, 2));
  EXPECT_TRUE(packed.model->parameter("layers.1.attention.o").value.has(WeightForm::plain));
  EXPECT_TRUE(pack_for(packed.owned.exec, *packed.model, 50));
  EXPECT_FALSE(packed.model->parameter("layers.1.attention.o").value.has(WeightForm::plain));
  EngineRequest request;
  request.prompt = {3, 1, 4};
  request.max_tokens = 30;
  EXPECT_EQ(generated(packed, request).tokens, generated(small, request).tokens);
}

TEST(Generator, StopsAtStopIdsLimitsAndTheCallersWish) {
  Small small;
  EngineRequest request;
  request.prompt = {3, 1, 4};
  request.max_tokens = 10;
  request.sampling.temperature = 0;
  const auto whole = generated(small, request).tokens;
  request.stop = {whole[4]};
  const auto stopped = generated(small, request);
  EXPECT_TRUE(stopped.stopped);
  EXPECT_LE(stopped.tokens.size(), 5u);
  EXPECT_EQ(stopped.tokens.back(), whole[4]);
  request.stop.clear();
  request.on_token = [](const ScoredToken&) { return false; };
  EXPECT_EQ(generated(small, request).tokens.size(), 1u);
  request.max_tokens = 0;
  EXPECT_TRUE(generated(small, request).tokens.empty());
}

// A chat's turns on one engine: what was read and written before is not read again, and the text is that of an engine
// that is new.
TEST(Generator, ATextThatGoesOnReadsOnlyWhatIsNew) {
  Small small(256);
  Engine engine(small.owned.exec, *small.model, {.cache_texts = 1, .max_running = 1});
  EXPECT_EQ(engine.longest_text(), 256);
  EngineRequest request;
  for (int32_t i = 0; i < 90; ++i) request.prompt.push_back(i % 40);
  request.max_tokens = 50, request.sampling.seed = 3;
  const auto first = generate(engine, request).tokens;
  EXPECT_EQ(first, generated(small, request).tokens);
  request.prompt.insert(request.prompt.end(), first.begin(), first.end());
  EXPECT_EQ(generate(engine, request).tokens, generated(small, request).tokens);
  EXPECT_EQ(engine.counts().cached_tokens, 128);
}

TEST(Generator, DraftsChangeNoToken) {
  Small small(64, 1);
  EngineRequest request;
  request.prompt = {3, 1, 4}, request.max_tokens = 40;
  const auto plain = generated(small, request).tokens;
  for (const int64_t drafts : {int64_t(1), int64_t(3), EngineOptions::kAutomatic})
    EXPECT_EQ(generated(small, request, drafts).tokens, plain);
}

TEST(Generator, ThrowsWhatEndedTheRequestByItsKind) {
  Small small;
  EngineRequest request;
  request.prompt = {3}, request.max_tokens = 5;
  request.on_token = [](const ScoredToken&) -> bool { fail(ErrorKind::io, "the disk is full"); };
  EXPECT_ERROR(generated(small, request), ErrorKind::io, "the disk is full");
  request.on_token = {};
  for (int32_t id = 0; id < 40; ++id) request.sampling.suppressed.push_back(id);
  EXPECT_ERROR(generated(small, request), ErrorKind::invalid, "at position 1: all 40 tokens are suppressed");
  request.sampling.suppressed.clear();
  set_element(small.model->parameter("final_norm").value.plain, 5, std::nan(""));
  EXPECT_ERROR(generated(small, request), ErrorKind::failed, "at position 1: the logit of token 0 is nan");
}

TEST(Generator, RefusesWhatDoesNotFit) {
  Small small;
  EngineRequest request;
  EXPECT_ERROR(generated(small, request), ErrorKind::invalid, "the prompt is empty; give at least one token");
  request.prompt = {3};
  request.max_tokens = 64;
  EXPECT_ERROR(generated(small, request), ErrorKind::invalid,
               "1 prompt tokens and 64 new ones make 65, more than the model's 64 positions");
  request.max_tokens = 3;
  request.prompt = {40};
  EXPECT_ERROR(generated(small, request), ErrorKind::invalid, "token id 40 must lie in 0 .. 39");
  request.prompt = {-1};
  EXPECT_ERROR(generated(small, request), ErrorKind::invalid, "token id -1 must lie in 0 .. 39");
}

}  // namespace
}  // namespace hadal
