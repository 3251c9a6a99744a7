// The whole model under the report's FP8 recipe: near FP32 with the same routes, codes kept where it says so, and
// everything that must not change a bit changes none.
#include "config/config_io.h"
#include "model/rope_cache.h"
#include "model/small_model.h"
#include "model/stage.h"

namespace hadal {
namespace {

using namespace hadal::testing;

ModelOptions options_of(const Recipe& recipe, Recompute recompute = Recompute::none,
                        AttentionForm form = AttentionForm::up_projected) {
  ModelOptions options = training_options(Precision::fp32);
  options.recipe = recipe;
  options.recompute = recompute;
  options.attention_form = form;
  return options;
}

struct Outcome {
  double loss;
  std::vector<double> gradients;
  uint64_t hash;
};

// Weights small enough for an error not to grow from layer to layer: what is left is that of the products.
ModelConfig calm_config() {
  ModelConfig config = small_config();
  config.init_std = 0.05;
  return config;
}

Outcome run_model(const ModelOptions& options, RouteReplay* routes, int threads = 2, double loss_scale = 1,
                  const ModelConfig& config = calm_config()) {
  SmallModel small(config, options, threads);
  const LossWeights weights = loss_weights(small_config(), loss_scale);
  const LossSums sums = small.forward_backward(make_batch({{70, 9}, {1, 80}}, true), weights, routes);
  return {sums.total(weights), all_gradients(small.model), gradient_hash(small.model)};
}

// In every recipe, against FP32, whose routes it takes.
template <class Recipes>
void expect_near_fp32(const ModelConfig& config, const Recipes& recipes) {
  RouteReplay routes;
  const Outcome high = run_model(options_of(Recipe::high()), &routes, 2, 1, config);
  routes.replay = true;
  EXPECT_EQ(run_model(options_of(Recipe::high()), &routes, 2, 1, config).hash, high.hash);
  for (const auto& [form, recipe] : recipes) {
    const Outcome fp8 = run_model(options_of(recipe, Recompute::none, form), &routes, 2, 1, config);
    EXPECT_NEAR(fp8.loss, high.loss, 0.002 * high.loss);
    EXPECT_NE(fp8.loss, high.loss);
    double off = 0, size = 0;
    for (size_t i = 0; i < high.gradients.size(); ++i) {
      off += (fp8.gradients[i] - high.gradients[i]) * (fp8.gradients[i] - high.gradients[i]);
      size += high.gradients[i] * high.gradients[i];
    }
    EXPECT_LT(std::sqrt(off / size), 0.08);
    EXPECT_GT(std::sqrt(off / size), 0.01);
  }
}

TEST(ModelRecipe, Fp8IsNearFp32WhenTheRoutesAreTheSame) {
  using enum AttentionForm;
  expect_near_fp32(calm_config(), std::vector{std::pair(up_projected, Recipe::fp8()),
                                              {absorbed, Recipe::fp8()},
                                              {up_projected, Recipe::mxfp8()},
                                              {absorbed, Recipe::mxfp8(ScaleRule::ocp)}});
  for (const int64_t shared : {1, 2})
    expect_near_fp32(with_heads(calm_config(), 2, shared), std::vector{std::pair(up_projected, Recipe::fp8()),
                                                                       {up_projected, Recipe::mxfp8(ScaleRule::ocp)}});
}

TEST(ModelRecipe, EveryEntryReachesItsProducts) {
  for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
    RouteReplay routes;
    const Outcome high = run_model(options_of(Recipe::high(), Recompute::none, form), &routes);
    routes.replay = true;
    for (GemmRecipe Recipe::*entry :
         {&Recipe::q_a, &Recipe::q_b, &Recipe::kv_a, &Recipe::kv_b, &Recipe::o, &Recipe::ffn_gate_up, &Recipe::ffn_down,
          &Recipe::experts_gate_up, &Recipe::experts_down, &Recipe::router, &Recipe::mtp_projection, &Recipe::head}) {
      for (Format GemmRecipe::*pass : {&GemmRecipe::fprop, &GemmRecipe::dgrad, &GemmRecipe::wgrad}) {
        Recipe recipe;
        recipe.*entry.*pass = Format::fp8;
        EXPECT_NE(run_model(options_of(recipe, Recompute::none, form), &routes).hash, high.hash);
      }
    }
  }
}

TEST(ModelRecipe, RecomputationAndThreadsChangeNoBitOfFp8) {
  for (const Attention& attention : kAttentions) {
    const ModelConfig config = attention.in(calm_config());
    for (const Recipe& recipe : {Recipe::fp8(), Recipe::mxfp8()}) {
      const auto hash = [&](Recompute recompute, int threads) {
        return run_model(options_of(recipe, recompute, attention.form), nullptr, threads, 1, config).hash;
      };
      const uint64_t expected = hash(Recompute::none, 2);
      for (const Recompute recompute : {Recompute::norms, Recompute::all}) EXPECT_EQ(hash(recompute, 2), expected);
      EXPECT_EQ(hash(Recompute::none, 5), expected);
    }
  }
}

// The gate reads what the norm made, not the codes that are dispatched: where nothing before it is in FP8, its weights
// are those of the high model, to the bit.
TEST(ModelRecipe, TheRouterReadsNoCodes) {
  Recipe recipe;
  recipe.experts_gate_up = Recipe::fp8().experts_gate_up, recipe.experts_down = Recipe::fp8().experts_down;
  const auto seen = [](const Recipe& recipe, const std::string& name) {
    ModelConfig config = calm_config();
    config.n_dense_layers = 0;
    SmallModel small(config, options_of(recipe));
    std::vector<double> values;
    const Observer observer = [&](const std::string& what, const Tensor& tensor) {
      if (what == name)
        for (int64_t i = 0; i < tensor.count(); ++i) values.push_back(element(tensor, i));
    };
    small.model.forward(small.owned.exec, make_batch({{20, 11}}, true), {.observer = observer});
    return values;
  };
  EXPECT_FALSE(seen(recipe, "layers.0.moe.weights").empty());
  EXPECT_EQ(seen(recipe, "layers.0.moe.weights"), seen(Recipe::high(), "layers.0.moe.weights"));
  EXPECT_NE(seen(recipe, "layers.0.output"), seen(Recipe::high(), "layers.0.output"));
}

// No floor and no absolute constant on the way of a gradient: a loss times 2^k has the same codes, and gradients times
// 2^k, bit for bit.
TEST(ModelRecipe, GradientsFollowTheScaleOfTheLossExactly) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
      const bool mx = precision == Precision::bf16 && form == AttentionForm::absorbed;
      ModelOptions options = options_of(mx ? Recipe::mxfp8() : Recipe::fp8(), Recompute::norms, form);
      options.precision = precision;
      const Outcome once = run_model(options, nullptr);
      for (const int k : {-20, 12}) {
        const Outcome scaled = run_model(options, nullptr, 2, std::exp2(k));
        ASSERT_EQ(scaled.gradients.size(), once.gradients.size());
        for (size_t i = 0; i < once.gradients.size(); ++i)
          ASSERT_EQ(scaled.gradients[i], std::ldexp(once.gradients[i], k))
              << enum_name(precision) << " " << k << " " << i;
      }
    }
  }
}

TEST(ModelRecipe, CodesAreMadeBeforeTheyAreDispatchedAndKept) {
  const ModelConfig config = small_config();
  SmallModel small(config, options_of(Recipe::fp8()));
  const Exec& exec = small.owned.exec;
  const auto find = [&](const std::string& name) { return &small.model.parameter(name); };
  PartClock clock;
  Pass pass{
      exec, clock, DType::f32, AttentionForm::up_projected, Recompute::none, rope_table(exec, config, DType::f32, 64)};
  pass.keep = true;
  const MicroBatch batch = make_batch({{20, 11}}, true);
  for (const bool fp8 : {true, false}) {
    const Stage stage(config, {0, 2, true, false}, find, fp8 ? Recipe::fp8() : Recipe::high());
    Flight flight(exec, batch, stage.flight_sizes());
    stage.forward(pass, flight);
    const BlockSaved &dense = flight.blocks[0], &moe = flight.blocks[1];
    EXPECT_TRUE(dense.attention.normed && dense.attention.mla.q_input && dense.dense.normed);  // values: two tilings
    EXPECT_EQ(moe.moe.input.is_quantised(), fp8);         // for the shared expert and, dispatched, the routed ones
    EXPECT_EQ(moe.moe.sent[0].rows.is_quantised(), fp8);  // what travelled is what is kept
    if (!fp8) {                                           // no copy
      EXPECT_EQ(moe.moe.input.tensor().raw(), moe.moe.normed.raw());
    }
  }
}

// Of layers as wide as those of configs/bench-t2.toml, what a forward leaves for backward: two thirds of BF16's bytes,
// as the formats promise.
TEST(ModelRecipe, ATokenTakesTwoThirdsOfBf16sMemoryUntilBackward) {
  ModelConfig config = small_config();
  config.hidden_size = 512, config.n_layers = 4, config.n_dense_layers = 1, config.n_heads = 8, config.n_mtp = 0;
  config.q_lora_rank = 192, config.kv_lora_rank = 128, config.qk_nope_head_dim = config.v_head_dim = 64;
  config.qk_rope_head_dim = 32, config.dense_ffn_size = 1536, config.expert_ffn_size = 256;
  config.n_routed_experts = 8, config.n_shared_experts = 2, config.n_experts_per_token = 6;
  config.n_groups = config.n_limited_groups = 2, config.max_positions = 512;
  const auto kept = [&](const Recipe& recipe) {
    ModelOptions options = training_options(Precision::bf16);
    options.recipe = recipe;
    SmallModel small(config, options);
    const Exec& exec = small.owned.exec;
    const auto find = [&](const std::string& name) { return &small.model.parameter(name); };
    PartClock clock;
    Pass pass{exec,
              clock,
              DType::bf16,
              AttentionForm::up_projected,
              Recompute::norms,
              rope_table(exec, config, DType::f32, 512)};
    pass.keep = true;
    const MicroBatch batch = make_batch({{512}}, true);
    const Stage stage(config, {0, 4, true, false}, find, recipe);
    const size_t before = exec.memory->bytes_in_use();
    Flight flight(exec, batch, stage.flight_sizes());
    stage.forward(pass, flight);
    return double(exec.memory->bytes_in_use() - before);
  };
  const double bf16 = kept(Recipe::high()), fp8 = kept(Recipe::fp8());
  std::printf("%.0f of %.0f bytes a token\n", fp8 / 512, bf16 / 512);
  EXPECT_LE(fp8 / bf16, 0.68) << fp8 / 512 << " bytes a token in FP8, " << bf16 / 512 << " in BF16";
  EXPECT_GE(fp8 / bf16, 0.55);
}

// The same by the formula of the memory plan, of whole models, attention and FFNs of all layers of the main model:
// 63.3 of 96.0 kB a token of configs/bench-t2.toml, 5.99 of 8.66 MB of V3. Beside that the rows that went to experts,
// one for each, half as large as codes, and the lists that say whose they are.
TEST(ModelRecipe, ATokensBytesUntilBackwardAreThoseOfTheFormats) {
  struct Kept {
    double all = 0, formats = 0;
  };
  const auto kept = [](const ModelConfig& config, const Recipe& recipe) {
    ModelOptions options = training_options(Precision::bf16);
    options.recipe = recipe, options.bare = true;
    const OwnedExec owned(1);
    const Transformer model(config, options, owned.exec);
    constexpr int64_t kTokens = 4096;
    Kept kept;
    for (const auto& piece : model.stage().pieces()) {
      if (piece->layer() < 0 || piece->layer() >= config.n_layers) continue;
      const double bytes =
          double(piece->bytes({.rows = kTokens, .dtype = DType::bf16, .recompute = Recompute::norms}).kept) / kTokens;
      kept.all += bytes;
      const std::string name = piece->name();
      const bool lists = name == "route";  // ids and places, four a choice
      if (name != "dispatch start") kept.formats += bytes - (lists ? 16.0 * double(config.n_experts_per_token) : 0);
    }
    return kept;
  };
  const auto model_of = [](const std::string& name) {
    return load_config(std::string(HADAL_SOURCE_DIR) + "/configs/" + name + ".toml").model;
  };
  const ModelConfig t2 = model_of("bench-t2"), v3 = model_of("deepseek-v3-671b");
  const Kept t2_bf16 = kept(t2, Recipe::high()), t2_fp8 = kept(t2, Recipe::fp8());
  EXPECT_EQ(t2_bf16.formats, 96040);
  EXPECT_EQ(t2_fp8.formats, 63272);
  EXPECT_EQ(t2_bf16.all, 139888);
  EXPECT_EQ(t2_fp8.all, 85784);
  const Kept v3_bf16 = kept(v3, Recipe::high()), v3_fp8 = kept(v3, Recipe::fp8());
  EXPECT_NEAR(v3_bf16.formats, 8.66e6, 5e3);
  EXPECT_NEAR(v3_fp8.formats, 5.99e6, 5e3);
  EXPECT_NEAR(v3_bf16.all, 15.32e6, 5e3);
  EXPECT_NEAR(v3_fp8.all, 9.35e6, 5e3);
}

TEST(ModelRecipe, GenerationEqualsTheForwardOfTraining) {
  SmallModel small(small_config(), options_of(Recipe::fp8()));
  const MicroBatch batch = make_batch({{40}}, false);
  CachedText whole = small.new_text(64), steps = small.new_text(64);
  const std::vector<float> at_once = small.extend(whole, batch.tokens);
  std::vector<float> last;
  for (const int32_t token : batch.tokens) last = small.extend(steps, std::span(&token, 1));
  EXPECT_EQ(last, at_once);
}

}  // namespace
}  // namespace hadal
