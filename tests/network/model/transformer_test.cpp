// The model as trainer, scorer and generator see it: counts, routes, the balancing bias, bad input, memory.
#include <thread>

#include "base/clock.h"
#include "base/expect_error.h"
#include "model/small_model.h"
#include "nn/init.h"
#include "nn/part_clock.h"

#include "base/error.h"

namespace hadal {
namespace {

using namespace hadal::testing;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    return error.what();
  }
  return "";
}

TEST(Transformer, EveryTokenVisitsKExpertsAndIsCountedOnce) {
  for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
    ModelOptions options = training_options(Precision::fp32);
    options.recompute = recompute;
    SmallModel small(small_config(), options);
    const MicroBatch batch = make_batch({{30, 2, 11}}, true);
    const LossSums sums = small.forward_backward(batch, loss_weights(small_config()));
    const int64_t rows[] = {43, 43, 40, 37};  // two MoE layers, MTP depth 1, MTP depth 2
    ASSERT_EQ(sums.expert_load.size(), 4u);
    for (size_t l = 0; l < 4; ++l) {
      int64_t total = 0;
      for (int64_t load : sums.expert_load[l]) total += load;
      EXPECT_EQ(total, rows[l] * 3);
    }
    EXPECT_EQ(sums.main_count, 40);
    EXPECT_EQ(sums.mtp_count, (std::vector<int64_t>{37, 35}));
    EXPECT_EQ(small.forward(batch).expert_load, sums.expert_load);
  }
}

TEST(Transformer, ReplaysRecordedRoutes) {
  SmallModel small(small_config(), training_options(kFinest));
  const MicroBatch batch = make_batch({{25}}, false);
  RouteReplay routes;
  std::vector<double> chosen, replayed, other;
  small.forward(batch, &chosen, &routes);
  ASSERT_EQ(routes.experts.size(), 4u);
  EXPECT_EQ(routes.experts[0].size(), 25u * 3);
  routes.replay = true;
  small.forward(batch, &replayed, &routes);
  EXPECT_EQ(replayed, chosen);
  for (size_t i = 0; i < routes.experts[0].size(); i += 3)
    routes.experts[0][i] = 0, routes.experts[0][i + 1] = 1, routes.experts[0][i + 2] = 2;
  const LossSums sums = small.forward(batch, &other, &routes);
  EXPECT_NE(other, chosen);
  EXPECT_EQ(sums.expert_load[0], (std::vector<int64_t>{25, 25, 25, 0, 0, 0, 0, 0}));
  routes.experts[1].pop_back();
  EXPECT_NE(message_of([&] { small.forward(batch, nullptr, &routes); }).find("replayed routes hold 74"),
            std::string::npos);
  routes.experts.pop_back();
  EXPECT_NE(message_of([&] { small.forward(batch, nullptr, &routes); }).find("3 MoE layers, the model has 4"),
            std::string::npos);
}

TEST(Transformer, LogProbabilitiesAddUpToTheLoss) {
  SmallModel small(small_config(), {});
  const MicroBatch batch = make_batch({{25, 9}}, true);
  std::vector<double> log_probs;
  const LossSums sums = small.forward(batch, &log_probs);
  double total = 0;
  for (double p : log_probs) total -= p;
  EXPECT_NEAR(sums.main, total, 1e-9);
  EXPECT_EQ(log_probs[24], 0.0);  // the end of a document has no target
  EXPECT_LT(log_probs[0], 0.0);
}

TEST(Transformer, MovesTheSelectionBiasTowardsTheMeanLoad) {
  SmallModel small(small_config(), training_options(Precision::bf16));
  const Tensor bias = small.model.parameter("layers.1.moe.bias").value.plain;
  EXPECT_EQ(bias.dtype(), DType::f32);
  std::vector<float> before;
  for (int64_t e = 0; e < 8; ++e) before.push_back(float(element(bias, e)));
  std::vector<std::vector<int64_t>> load(4, {10, 10, 10, 10, 10, 10, 10, 10});
  load[0] = {9, 11, 10, 10, 0, 40, 0, 0};  // mean 10
  small.update_selection_bias(load, 0.001);
  const double moves[] = {0.001, -0.001, 0, 0, 0.001, -0.001, 0.001, 0.001};
  for (int64_t e = 0; e < 8; ++e) EXPECT_EQ(float(element(bias, e)), float(double(before[size_t(e)]) + moves[e])) << e;
  std::vector<float> after;
  for (int64_t e = 0; e < 8; ++e) after.push_back(float(element(bias, e)));
  small.update_selection_bias(load, 0.0);
  for (int64_t e = 0; e < 8; ++e) EXPECT_EQ(float(element(bias, e)), after[size_t(e)]);
  load.pop_back();
  EXPECT_NE(message_of([&] { small.update_selection_bias(load, 0.001); }), "");
}

TEST(Transformer, SelectionBiasHasNoGradientAndChangesRoutesOnly) {
  SmallModel small(small_config(), training_options(kFinest));
  EXPECT_FALSE(small.model.parameter("layers.1.moe.bias").grad);
  const MicroBatch batch = make_batch({{25}}, false);
  RouteReplay routes;
  std::vector<double> before, after;
  small.forward(batch, &before, &routes);
  routes.replay = true;
  set_element(small.model.parameter("layers.1.moe.bias").value.plain, 3, 50.0);
  small.forward(batch, &after, &routes);
  EXPECT_EQ(before, after);  // same routes, same weights: the bias is in neither
  EXPECT_EQ(small.forward(batch).expert_load[0][3], 25);
}

TEST(Transformer, RunsDocumentsTooShortForMultiTokenPrediction) {
  SmallModel small(small_config(), training_options(Precision::fp32));
  const LossSums sums = small.forward_backward(make_batch({{1, 1}, {1}}, true), loss_weights(small_config()));
  EXPECT_EQ(sums.main_count, 0);
  EXPECT_EQ(sums.main, 0.0);
  EXPECT_EQ(sums.mtp_count, (std::vector<int64_t>{0, 0}));
  ASSERT_EQ(sums.expert_load.size(), 4u);
  EXPECT_EQ(sums.expert_load[3], std::vector<int64_t>(8, 0));
}

// They fill schedules: counted like others, whatever stands between their actions.
TEST(Transformer, MicroBatchesOfNoTokensContributeNothing) {
  using enum ActionKind;
  const LossWeights weights = loss_weights(small_config());
  const MicroBatch a = make_batch({{9, 4}}, true), b = make_batch({{12}}, true, 37, 5);
  SmallModel small(small_config(), training_options(Precision::fp32));
  const auto run = [&](const std::vector<MicroBatch>& batches, const Actions& actions) {
    small.model.begin_step(int64_t(batches.size()));
    const LossSums sums = small.model.forward_backward(small.owned.exec, batches, weights, {}, &actions);
    for (const Parameter* p : small.model.parameters()) EXPECT_TRUE(!p->spec.trained || p->complete());
    return std::tuple(sums.total(weights), sums.main_count, sums.expert_load, gradient_hash(small.model));
  };
  const auto expected = run({a, b}, one_stage(2));
  EXPECT_EQ(run({{}, a, {}, b, {}}, one_stage(5)), expected);
  EXPECT_EQ(run({a, {}, b}, {{forward, 0, 0},
                             {backward_input, 0, 0},
                             {forward, 0, 1},
                             {backward_input, 0, 1},
                             {backward_weight, 0, 0},
                             {forward, 0, 2},
                             {backward_weight, 0, 1},
                             {backward_input, 0, 2},
                             {backward_weight, 0, 2}}),
            expected);
  EXPECT_EQ(std::get<1>(run({{}}, one_stage(1))), 0);
  for (const double gradient : all_gradients(small.model)) EXPECT_EQ(gradient, 0);
  std::vector<double> log_probs = {1};
  EXPECT_EQ(small.forward({}, &log_probs).main_count, 0);
  EXPECT_TRUE(log_probs.empty());
}

TEST(Transformer, ReportsANotANumberLossWithoutThrowing) {
  SmallModel small(small_config(), training_options(Precision::fp32));
  set_element(small.model.parameter("head").value.plain, 5, std::nan(""));
  const LossWeights weights = loss_weights(small_config());
  EXPECT_TRUE(std::isnan(small.forward_backward(make_batch({{8}}, false), weights).total(weights)));
}

TEST(Transformer, NamesWhatIsWrongWithABatch) {
  SmallModel small(small_config(), {});
  const MicroBatch good = make_batch({{8}}, false);
  auto message = [&](auto&& spoil) {
    MicroBatch batch = good;
    spoil(batch);
    return message_of([&] { small.forward(batch); });
  };
  EXPECT_NE(message([](MicroBatch& b) { b.tokens[3] = 37; }).find("token 3 of the micro-batch is 37"),
            std::string::npos);
  EXPECT_NE(message([](MicroBatch& b) { b.targets[2] = -2; }).find("target 2"), std::string::npos);
  EXPECT_NE(message([](MicroBatch& b) { b.positions[7] = 512; }).find("max_positions = 512"), std::string::npos);
  EXPECT_NE(message([](MicroBatch& b) { b.segments[0].n_q = b.segments[0].n_k = 7; }).find("cover 7 of 8 rows"),
            std::string::npos);
  EXPECT_NE(message([](MicroBatch& b) { b.sequences.clear(); }).find("sequences cover 0 of 8"), std::string::npos);
  EXPECT_EQ(message([](MicroBatch& b) { b = MicroBatch(); }), "");  // fills a pipeline's schedule
  EXPECT_NE(message_of([&] { activation_dtype(Precision::automatic); }).find("fp64, fp32, bf16"), std::string::npos);
  EXPECT_EQ(message([](MicroBatch&) {}), "");
}

TEST(Transformer, RefusesToGenerateBeyondItsCache) {
  SmallModel small(small_config(), {});
  EXPECT_NE(message_of([&] { small.model.new_cache(small.owned.exec, 0); }), "");
  CachedText text = small.new_text(64);
  const std::vector<int32_t> tokens(63, 1);
  small.extend(text, tokens);
  EXPECT_NE(message_of([&] { small.extend(text, tokens); }).find("63 tokens after 63 do not fit 1 blocks of 64"),
            std::string::npos);
  EXPECT_NE(message_of([&] { small.extend(text, std::vector<int32_t>{37}); }), "");
  EXPECT_NE(message_of([&] { small.extend(text, std::vector<int32_t>{}); }), "");
  EXPECT_EQ(small.extend(text, std::vector<int32_t>{5}).size(), 37u);
  CachedText lost = text;
  lost.blocks = {1}, lost.length = 0;
  EXPECT_NE(message_of([&] { small.extend(lost, tokens); }).find("block 1 of a cache of 1 blocks"), std::string::npos);
  CachedText longest = small.new_text(576);
  EXPECT_NE(message_of([&] { small.extend(longest, std::vector<int32_t>(513, 1)); }).find("model.max_positions = 512"),
            std::string::npos);
}

TEST(Transformer, PackedWeightsGiveTheSameBitsAndNothingElseIsKept) {
  for (const Arithmetic& arithmetic : every_arithmetic()) {
    for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
      ModelConfig config = wide_config();
      config.tie_embeddings = form == AttentionForm::absorbed;
      ModelOptions options;
      options.precision = arithmetic.precision, options.attention_form = form;
      SmallModel plain(config, options, 2, arithmetic.isa), packed(config, options, 2, arithmetic.isa);
      const int64_t n_mtp = form == AttentionForm::absorbed ? config.n_mtp : 0;
      const int64_t expected = packed.model.packed_bytes(packed.owned.exec, n_mtp);
      EXPECT_EQ(expected == 0, arithmetic.precision == Precision::fp64 || arithmetic.precision == Precision::fp16);
      packed.model.pack(packed.owned.exec, n_mtp);
      EXPECT_EQ(packed.model.packed_bytes(packed.owned.exec, n_mtp), 0);
      const Weight& guessing = packed.model.parameter("layers.4.moe.experts.up").value;
      EXPECT_EQ(guessing.has(WeightForm::panels), expected > 0 && n_mtp > 0);
      int64_t bytes = 0;
      for (const Parameter* p : packed.model.parameters()) {
        if (!p->value.has(WeightForm::panels) && !p->value.has(WeightForm::heads)) continue;
        EXPECT_FALSE(p->value.has(WeightForm::plain) || p->master) << p->spec.name;
        bytes += p->value.bytes();
      }
      EXPECT_EQ(bytes, expected);
      const Weight& kv_b = packed.model.parameter("layers.1.attention.kv_b").value;
      EXPECT_EQ(kv_b.has(WeightForm::panels), expected > 0 && form == AttentionForm::up_projected);
      EXPECT_EQ(kv_b.has(WeightForm::heads), expected > 0 && form == AttentionForm::absorbed);
      EXPECT_TRUE(packed.model.parameter("embedding").value.has(WeightForm::plain));
      const MicroBatch text = make_batch({{23}}, false);
      CachedText a = plain.new_text(40), b = packed.new_text(40);
      EXPECT_EQ(plain.extend(a, text.tokens), packed.extend(b, text.tokens));
      for (const int32_t token : {3, 1, 4})
        EXPECT_EQ(plain.extend(a, std::span(&token, 1)), packed.extend(b, std::span(&token, 1)));
      std::vector<double> before, after;  // scoring runs MTP, too
      plain.forward(text, &before), packed.forward(text, &after);
      EXPECT_EQ(before, after);
    }
  }
  SmallModel training(small_config(), training_options(Precision::fp32));
  EXPECT_ERROR(training.model.pack(training.owned.exec), ErrorKind::internal,
               "a model in training keeps its weights as tensors");
}

TEST(Transformer, RefusesWhatOnlyLatentAttentionHas) {
  const ModelConfig config = with_heads(small_config());
  ModelOptions options;
  options.attention_form = AttentionForm::absorbed;
  EXPECT_ERROR(SmallModel(config, options), ErrorKind::invalid, "the absorbed form is one of latent attention (mla)",
               "attention is gqa");
  options.cache = CacheFormat::fp8;
  EXPECT_ERROR(SmallModel(config, options), ErrorKind::unsupported, "a cache in fp8 keeps latents", "gqa");
}

// Keys and values of the key/value heads, and nothing else: 2 g d numbers per token and layer.
TEST(Transformer, ItsCacheOfLlamasAttentionHoldsKeysAndValuesOfTheirHeads) {
  const ModelConfig config = with_heads(small_config(), 2, 3, 6);
  SmallModel small(config, {.precision = Precision::bf16});
  const auto cache = small.model.new_cache(small.owned.exec, 3);
  ASSERT_EQ(cache->layers.size(), size_t(config.n_layers));
  for (const LayerCache& layer : cache->layers) {
    EXPECT_EQ(layer.kv.shape(), (Shape{3 * kCacheBlock, 2 * 2 * 6}));
    EXPECT_FALSE(layer.rope_key || layer.latent);
  }
  EXPECT_EQ(small.model.cache_block_bytes(), kCacheBlock * config.n_layers * 2 * 2 * 6 * 2);
}

// A trainer and an engine use one set of weights at once: each brings its own place.
TEST(Transformer, TwoPlacesComputeWithOneSetOfWeightsAtOnce) {
  SmallModel small(small_config(), training_options(Precision::fp32));
  const MicroBatch batch = make_batch({{70, 9}, {1, 80}}, true), other = make_batch({{33}}, false, 37, 5);
  const LossWeights weights = loss_weights(small_config());
  const auto train = [&](const Exec& exec) {
    small.model.begin_step(1);
    return small.model.forward_backward(exec, batch, weights).total(weights);
  };
  const auto generate = [&](const Exec& exec) {
    CachedText text(exec, small.model, 500);  // longer than the training text: the rotary table grows
    std::vector<float> logits = extend(exec, small.model, text, other.tokens);
    for (int i = 0; i < 20; ++i) {
      const int32_t next = int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
      logits = extend(exec, small.model, text, std::span(&next, 1));
    }
    return logits;
  };
  const double loss = train(small.owned.exec);
  const uint64_t gradients = gradient_hash(small.model);
  const std::vector<float> logits = generate(small.owned.exec);
  for (int round = 0; round < 3; ++round) {
    OwnedExec trainer(2), engine(2), scorer(1);
    double loss_now = 0;
    std::vector<float> logits_now;
    std::vector<double> log_probs, log_probs_now;
    small.model.forward(small.owned.exec, other, {.log_probs = &log_probs});
    std::thread one([&] { loss_now = train(trainer.exec); });
    std::thread two([&] { logits_now = generate(engine.exec); });
    small.model.forward(scorer.exec, other, {.log_probs = &log_probs_now});
    one.join(), two.join();
    EXPECT_EQ(loss_now, loss);
    EXPECT_EQ(gradient_hash(small.model), gradients);
    EXPECT_EQ(logits_now, logits);
    EXPECT_EQ(log_probs_now, log_probs);
  }
}

TEST(Transformer, TimesItsParts) {
  SmallModel small(small_config(), training_options(Precision::fp32));
  PartClock clock;
  Wants wants;
  wants.clock = &clock;
  const MicroBatch batch = make_batch({{30}}, false);
  const double begin = steady_seconds();
  small.model.begin_step(1);
  small.model.forward_backward(small.owned.exec, std::span(&batch, 1), loss_weights(small_config()), wants);
  const double elapsed = steady_seconds() - begin;
  double total = 0;
  std::vector<std::string> names;
  for (const auto& [name, seconds] : clock.take()) total += seconds, names.push_back(name);
  for (const char* part :
       {"attention", "experts", "router", "dispatch", "head, loss", "MTP", "norms", "dense FFN", "shared experts"})
    EXPECT_NE(std::find(names.begin(), names.end(), part), names.end()) << part;
  EXPECT_GT(total, 0);
  EXPECT_LE(total, elapsed);  // parts do not overlap, and hold nothing but this call
  EXPECT_TRUE(clock.take().empty());
}

TEST(Transformer, EstimatesItsMemory) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const Attention& attention : kAttentions) {
      for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
        ModelOptions options = training_options(precision);
        options.attention_form = attention.form;
        options.recompute = recompute;
        options.loss_chunk_tokens = 256;
        SmallModel small(attention.in(memory_config(), 3, 24), options);
        small.forward_backward(make_batch({{256}, {256}, {256}, {256}, {256}, {256}, {256}, {256}}, false, 300),
                               loss_weights(memory_config()));
        const double taken = double(small.owned.exec.memory->peak_bytes());
        double estimate = double(small.model.moving_bytes(2048, 256, 2, one_stage(1), {}));
        for (const Parameter* p : small.model.parameters()) {
          const ParameterBytes bytes = parameter_bytes(*p, activation_dtype(precision), true);
          estimate += double(bytes.values + bytes.gradient);
        }
        EXPECT_NEAR(estimate / taken, 1.0, 0.1)
            << "recompute " << int(recompute) << ", " << attention.text() << ", precision " << int(precision)
            << ": taken " << taken << ", estimated " << estimate;
      }
    }
  }
}

TEST(Transformer, MemoryGrowsAtMostLinearlyWithTheSequence) {
  auto peak = [](int64_t length) {
    SmallModel small(small_config(), training_options(Precision::fp32));
    const size_t before = small.owned.exec.memory->bytes_in_use();
    small.owned.exec.memory->reset_peak();
    small.forward_backward(make_batch({{length}}, false), loss_weights(small_config()));
    return double(small.owned.exec.memory->peak_bytes() - before);
  };
  EXPECT_LE(peak(512), 2.1 * peak(256));
}

TEST(Transformer, RecomputationSavesMemory) {
  double peaks[3];
  for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
    ModelOptions options = training_options(Precision::fp32);
    options.recompute = recompute;
    options.loss_chunk_tokens = 128;
    SmallModel small(memory_config(), options);
    const size_t before = small.owned.exec.memory->bytes_in_use();
    small.owned.exec.memory->reset_peak();
    small.forward_backward(make_batch({{256}, {256}, {256}, {256}}, false, 300), loss_weights(memory_config()));
    peaks[int(recompute)] = double(small.owned.exec.memory->peak_bytes() - before);
  }
  EXPECT_LT(peaks[1], 0.9 * peaks[0]);
  EXPECT_LT(peaks[2], 0.9 * peaks[1]);
}

}  // namespace
}  // namespace hadal
