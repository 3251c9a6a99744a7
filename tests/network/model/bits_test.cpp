// What must not change a single bit: recomputation, threads, packing, chunked generation, the moment at which W runs.
#include "base/error.h"
#include "base/expect_error.h"
#include "model/rope_cache.h"
#include "model/small_model.h"
#include "model/stage.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

using namespace hadal::testing;

struct Outcome {
  double loss;
  uint64_t gradients;
  std::vector<std::vector<int64_t>> load;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(const ModelConfig& config, const ModelOptions& options, int threads, Isa isa) {
  SmallModel small(config, options, threads, isa);
  const LossWeights weights = loss_weights(config);
  const LossSums sums = small.forward_backward(make_batch({{70, 9}, {1, kOnDevice ? 8 : 80}}, true), weights);
  return {sums.total(weights), gradient_hash(small.model), sums.expert_load};
}

TEST(ModelBits, RecomputationChangesNothing) {
  Cases cases;
  for (const auto& [precision, isa] : every_arithmetic()) {
    for (const Attention& attention : kAttentions) {
      for (const int64_t q_rank : {10, 0}) {
        if (cases.left_out()) continue;
        ModelConfig config = attention.in(small_config());
        if (config.is_latent()) config.q_lora_rank = q_rank;
        ModelOptions options = training_options(precision);
        options.attention_form = attention.form;
        const Outcome expected = outcome(config, options, 2, isa);
        for (const Recompute recompute : {Recompute::norms, Recompute::all}) {
          options.recompute = recompute;
          EXPECT_EQ(outcome(config, options, 2, isa), expected) << isa_name(isa);
        }
      }
    }
  }
}

TEST(ModelBits, ThreadsChangeNothing) {
  for (const auto& [precision, isa] : every_arithmetic()) {
    for (const ModelConfig& config : {wide_config(), with_heads(wide_config(), 2, 3)}) {
      const ModelOptions options = training_options(precision);
      const Outcome expected = outcome(config, options, 1, isa);
      for (const int threads : {2, 5}) EXPECT_EQ(outcome(config, options, threads, isa), expected) << isa_name(isa);
    }
  }
}

TEST(ModelBits, ADocumentHasTheSameLogProbabilitiesPackedAndAlone) {
  Cases cases;
  for (const auto& [precision, isa] : every_arithmetic()) {
    for (const Attention& attention : kAttentions) {
      if (cases.left_out()) continue;
      ModelOptions options;
      options.precision = precision;
      options.attention_form = attention.form;
      SmallModel small(attention.in(wide_config()), options, 2, isa);
      const MicroBatch packed = make_batch({{33, 70}, {5, 1, 90}}, true);
      std::vector<double> together;
      small.forward(packed, &together);
      for (const ops::Segment& s : packed.segments) {
        MicroBatch alone;
        auto part = [&](const std::vector<int32_t>& all) {
          return std::vector<int32_t>(all.begin() + s.q_begin, all.begin() + s.q_begin + s.n_q);
        };
        alone.tokens = part(packed.tokens), alone.positions = part(packed.positions),
        alone.targets = part(packed.targets);
        alone.segments = {{0, s.n_q, 0, s.n_q}};
        alone.sequences = {{0, s.n_q}};
        std::vector<double> log_probs;
        small.forward(alone, &log_probs);
        EXPECT_EQ(log_probs, std::vector<double>(together.begin() + s.q_begin, together.begin() + s.q_begin + s.n_q));
      }
    }
  }
}

// Returns the log-probabilities.
std::vector<double> generation_equals_the_forward(const ModelConfig& config, const ModelOptions& options, Isa isa) {
  SmallModel small(config, options, 2, isa);
  MicroBatch batch = make_batch({{150}}, false);
  std::vector<double> expected;
  small.forward(batch, &expected);
  for (const std::vector<int64_t>& steps : {std::vector<int64_t>{1, 1, 1, 1}, {64, 1, 1, 60, 5}, {130, 7}, {149}}) {
    CachedText text = small.new_text(150);
    int64_t done = 0;
    for (int64_t n : steps) {
      const std::vector<float> logits = small.extend(text, std::span(batch.tokens).subspan(size_t(done), size_t(n)));
      done += n;
      if (options.precision == Precision::fp64) {  // logits come as f32
        double sum = 0;
        for (float l : logits) sum += std::exp(double(l));
        EXPECT_NEAR(double(logits[size_t(batch.tokens[size_t(done)])]) - std::log(sum), expected[size_t(done - 1)],
                    1e-6);
        continue;
      }
      const Tensor row = Tensor::from(small.owned.exec, logits, {1, 37}),
                   loss = Tensor::empty(small.owned.exec, DType::f32, {1});
      const int32_t target = batch.tokens[size_t(done)];
      ops::cross_entropy(small.owned.exec, row, Tensor::from(small.owned.exec, std::vector<int32_t>{target}, {1}), 1.0,
                         loss, false);
      EXPECT_EQ(-element(loss, 0), expected[size_t(done - 1)]) << "after " << done << " tokens";
    }
  }
  return expected;
}

TEST(ModelBits, GenerationFromTheCacheEqualsTheFullForward) {
  Cases cases;
  for (const auto& [precision, isa] : every_arithmetic()) {
    for (const Attention& attention : kAttentions) {
      if (cases.left_out()) continue;
      ModelOptions options;
      options.precision = precision;
      options.attention_form = attention.form;
      generation_equals_the_forward(attention.in(wide_config(), 2, kOnDevice ? 6 : 132), options, isa);
    }
  }
}

// Keys in FP8 are the same from a cache and without one, and not those in values.
TEST(ModelBits, GenerationFromACacheInFp8EqualsTheForwardThatScores) {
  Cases cases;
  for (const auto& [precision, isa] : every_arithmetic()) {
    if (precision == Precision::fp64 || precision == Precision::fp16 || cases.left_out()) continue;
    ModelOptions options;
    options.precision = precision;
    options.attention_form = AttentionForm::absorbed;
    options.cache = CacheFormat::fp8;
    const std::vector<double> in_codes = generation_equals_the_forward(wide_config(), options, isa);
    options.cache = CacheFormat::values;
    std::vector<double> in_values;
    SmallModel(wide_config(), options, 2, isa).forward(make_batch({{150}}, false), &in_values);
    double mean = 0;  // a route that flips moves a row far, not all of them
    for (size_t i = 0; i < in_values.size(); ++i)
      mean += std::abs(in_codes[i] - in_values[i]) / double(in_values.size());
    EXPECT_GT(mean, 1e-4) << isa_name(isa);
    EXPECT_LT(mean, 0.3) << isa_name(isa);
  }
}

// Texts that share every forward, in chunks of their own and with blocks strewn over one cache, get the bits that each
// gets alone.
TEST(ModelBits, TextsThatShareForwardsGetTheBitsThatEachGetsAlone) {
  Cases cases;
  const std::vector<std::vector<int64_t>> chunks = {
      {1, 63, 1, 1, 70}, {100, 1, 1, 1, 1}, {5, 5, 60, 60, 3}, {0, 0, 140, 1, 1}};
  for (const auto& [precision, isa] : every_arithmetic()) {
    for (const Attention& attention : kAttentions) {
      if (cases.left_out()) continue;
      ModelOptions options;
      options.precision = precision, options.attention_form = attention.form;
      SmallModel small(attention.in(wide_config()), options, 2, isa);
      const Exec& exec = small.owned.exec;
      std::vector<std::vector<int32_t>> tokens;
      std::vector<CachedText> alone;
      for (size_t t = 0; t < chunks.size(); ++t) {
        tokens.push_back(make_batch({{150}}, false, 37, 11 + t).tokens);
        alone.push_back(small.new_text(150));
      }
      const auto cache = small.model.new_cache(exec, 12);
      std::vector<std::vector<int32_t>> blocks = {{7, 0, 4}, {11, 1, 3}, {2, 10, 9}, {5, 8, 6}};
      std::vector<int64_t> done(chunks.size(), 0);
      for (size_t step = 0; step < chunks[0].size(); ++step) {
        std::vector<Extension> texts;
        std::vector<float> expected;
        for (size_t t = 0; t < chunks.size(); ++t) {
          const int64_t n = chunks[t][step];
          if (n == 0) continue;
          const auto next = std::span(tokens[t]).subspan(size_t(done[t]), size_t(n));
          texts.push_back({next, done[t], blocks[t], step == 3 ? 0 : 1});
          const std::vector<float> one = small.extend(alone[t], next);
          if (step != 3) expected.insert(expected.end(), one.begin(), one.end());
          done[t] += n;
        }
        const Tensor logits = small.model.extend(exec, *cache, texts);
        ASSERT_EQ(bool(logits), step != 3);  // nothing was wanted, so nothing came
        if (!logits) continue;
        const Tensor got = host_copy(logits.to(exec, DType::f32));
        EXPECT_EQ(std::vector<float>(got.data<float>(), got.data<float>() + got.count()), expected) << "step " << step;
      }
    }
  }
}

// A stage of one layer, driven by hand.
struct OneLayer {
  OneLayer(SmallModel& small, int64_t layer, AttentionForm form, Recompute recompute)
      : exec(small.owned.exec),
        find([&small](const std::string& name) { return &small.model.parameter(name); }),
        stage(small.model.config(), {layer, layer + 1, false, false}, find),
        pass{exec, clock, DType::f32, form, recompute, rope_table(exec, small.model.config(), DType::f32, 64)} {
    pass.keep = true;
    pass.balance_alpha = 0.1;
  }
  std::unique_ptr<Flight> forward(const MicroBatch& batch, const Tensor& x) {
    auto flight = std::make_unique<Flight>(exec, batch, stage.flight_sizes());
    flight->streams[0].h = x;
    stage.forward(pass, *flight);
    return flight;
  }
  const Exec& exec;
  std::function<Parameter*(const std::string&)> find;
  PartClock clock;
  Stage stage;
  Pass pass;
};

// B must leave every gradient as it was, W may run any time later and empties what was kept.
TEST(ModelBits, BackwardInputTouchesNoGradientAndBackwardWeightMayRunLater) {
  Cases cases;
  for (const Attention& attention : kAttentions) {
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      if (cases.left_out()) continue;
      SmallModel small(attention.in(small_config()), training_options(Precision::fp32));
      const Exec& exec = small.owned.exec;
      const MicroBatch batch = make_batch({{20, 11}}, true);
      const Tensor ids = Tensor::from(exec, batch.tokens, {batch.n_tokens()});
      const Tensor x = Embedding{&small.model.parameter("embedding")}.forward(exec, ids, DType::f32);
      for (int64_t layer : {0, 1}) {
        OneLayer one(small, layer, attention.form, recompute);
        const auto flight = one.forward(batch, x);
        const Tensor y = flight->streams[0].h;
        small.model.begin_step();
        one.stage.backward(one.pass, *flight);
        const Tensor dx = flight->streams[0].h;
        const uint64_t at_once = gradient_hash(small.model);

        small.model.begin_step();
        const auto first = one.forward(batch, x),
                   second = one.forward(batch, x);  // two in flight, their W after both B
        first->streams[0].h = second->streams[0].h = y;
        one.stage.backward_input(one.pass, *first);
        one.stage.backward_input(one.pass, *second);
        EXPECT_EQ(gradient_hash(small.model), at_once);  // nothing was written, not even over what was there
        const Tensor other_dx = host_copy(first->streams[0].h), one_dx = host_copy(dx);
        EXPECT_EQ(std::memcmp(other_dx.raw(), one_dx.raw(), size_t(dx.bytes())), 0);
        one.stage.backward_weight(one.pass, *first);
        EXPECT_EQ(gradient_hash(small.model), at_once);
        const BlockSaved& kept = first->blocks[0];
        EXPECT_FALSE(kept.attention.mla.o || kept.attention.grouped.o || kept.attention.norm.x || kept.dense.norm.x ||
                     kept.moe.norm.x || kept.moe.routing.routes.scores || !kept.moe.sent.empty() ||
                     !kept.moe.experts.empty());
        one.stage.backward_weight(one.pass, *second);
        EXPECT_NE(gradient_hash(small.model), at_once);
      }
    }
  }
}

// What DualPipe does: W of a micro-batch runs after another's F and B. Whatever the order of the others, as long as the
// W keep theirs, a step has the same bits; MTP's and the head's W split off too.
TEST(ModelBits, WeightGradientsMayRunAfterAnotherMicroBatchsForwardAndBackward) {
  using enum ActionKind;
  const Actions plain = one_stage(3);
  const Actions split = {{forward, 0, 0},         {backward_input, 0, 0},  {forward, 0, 1},
                         {backward_input, 0, 1},  {backward_weight, 0, 0}, {forward, 0, 2},
                         {backward_weight, 0, 1}, {backward_input, 0, 2},  {backward_weight, 0, 2}};
  const Actions swapped = {{forward, 0, 0},        {forward, 0, 1},         {backward_input, 0, 1},
                           {backward_input, 0, 0}, {backward_weight, 0, 1}, {backward_weight, 0, 0},
                           {forward, 0, 2},        {backward_input, 0, 2},  {backward_weight, 0, 2}};
  const std::vector<MicroBatch> batches = {make_batch({{kOnDevice ? 20 : 70, 9}}, true, 37, 1),
                                           make_batch({{1, 2}, {3}}, true, 37, 2),
                                           make_batch({{kOnDevice ? 30 : 130}}, false, 37, 3)};
  Cases cases;
  std::vector<Precision> precisions = {kFinest, Precision::fp32, Precision::bf16};
  if (!kOnDevice) precisions.insert(precisions.end(), {Precision::fp8, Precision::mxfp8});
  for (const Precision precision : precisions) {
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      if (cases.left_out()) continue;
      ModelOptions options = training_options(precision);
      options.recipe = recipe_of(precision, {});
      options.recompute = recompute;
      SmallModel small(small_config(), options);
      const LossWeights weights = loss_weights(small_config());
      const auto run = [&](const Actions& actions) {
        small.model.begin_step(3);
        const LossSums sums = small.model.forward_backward(small.owned.exec, batches, weights, {}, &actions);
        for (const Parameter* p : small.model.parameters()) {
          EXPECT_TRUE(!p->spec.trained || p->complete()) << p->spec.name;
        }
        return std::make_pair(sums.total(weights), gradient_hash(small.model));
      };
      const auto expected = run(plain);
      EXPECT_EQ(run(split), expected);
      EXPECT_NE(run(swapped).second, expected.second) << "the control: W in another order has other bits";
      EXPECT_EQ(run(plain), expected);
    }
  }
}

TEST(ModelBits, AListThatLeavesSomethingOutIsRefused) {
  SmallModel small(small_config(), training_options(Precision::fp32));
  const MicroBatch batch = make_batch({{9}}, false);
  const Actions backward_first = {{ActionKind::backward, 0, 0}, {ActionKind::forward, 0, 0}};
  const auto run = [&](const Actions& actions) {
    small.model.begin_step(1);
    small.model.forward_backward(small.owned.exec, std::span(&batch, 1), loss_weights(small_config()), {}, &actions);
  };
  EXPECT_ERROR(run(backward_first), ErrorKind::internal,
               "micro-batch 0 has 2 actions at stage 0, which are not F and then B");
  EXPECT_ERROR(run({{ActionKind::forward, 0, 1}}), ErrorKind::internal, "an action of micro-batch 1 among 1");
  EXPECT_ERROR(run({{ActionKind::forward, 0, 0}}), ErrorKind::internal, "micro-batch 0 has 1 actions");
  EXPECT_ERROR(run({{ActionKind::forward, 0, 0}, {ActionKind::backward_input, 0, 0}}), ErrorKind::internal,
               "micro-batch 0 has 2 actions", "B, or Bi and W");
  run(one_stage(1));
  try {
    small.model.forward_backward(small.owned.exec, batch, loss_weights(small_config()));
    FAIL() << "a second micro-batch in a step of one";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("contributions"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hadal
