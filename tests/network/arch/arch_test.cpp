// Counts, FLOPs, cache bytes and rotary frequencies against the figures published for DeepSeek-V3 and V2.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "arch/arch.h"
#include "config/config_io.h"

namespace hadal {
namespace {

ModelConfig shipped(const std::string& name) {
  return load_config(std::string(HADAL_SOURCE_DIR) + "/configs/" + name + ".toml").model;
}

TEST(Arch, CountsTheParametersOfDeepSeekV3) {
  const auto counts = count_parameters(shipped("deepseek-v3-671b"));
  EXPECT_EQ(counts.total, 671'026'419'200);
  EXPECT_NEAR(double(counts.activated), 37.55e9, 0.005e9);
  EXPECT_NEAR(double(counts.activated_no_embedding), 36.63e9, 0.005e9);
  EXPECT_NEAR(double(counts.mtp), 11.61e9, 0.005e9);
}

TEST(Arch, CountsTheFlopsAndCacheBytesOfDeepSeekV3) {
  const auto model = shipped("deepseek-v3-671b");
  const auto flops = count_flops(model, 4096);
  EXPECT_NEAR(flops.linear, 73.2e9, 0.1e9);
  EXPECT_NEAR(flops.attention_causal, 10.2e9, 0.1e9);
  EXPECT_NEAR(flops.training_causal(), 250e9, 1e9);
  EXPECT_NEAR(flops.training_full(), 281e9, 1e9);
  EXPECT_EQ(cache_bytes(model).own, 70'272);
  EXPECT_EQ(cache_bytes(model).mha, 61 * 128 * (192 + 128) * 2);
}

// Parameters of attention per layer, and values cached per token and layer, of a width of 256: latent as in bench-t1,
// and with four heads of 64.
TEST(Arch, CountsEveryAttentionOfASmallWidth) {
  const auto of_attention = [](const ModelConfig& model) {
    int64_t n = 0;
    for (const auto& spec : parameter_list(model))
      if (spec.layer == 0 && spec.name.find(".attention.") != std::string::npos) n += spec.count();
    return n;
  };
  const ModelConfig latent = shipped("bench-t1");
  EXPECT_EQ(of_attention(latent), 112'640 + 96 + 64);  // and its norms
  EXPECT_EQ(cache_bytes(latent).own, 2 * 4 * 80);
  ModelConfig heads;
  heads.vocab_size = 100, heads.hidden_size = 256, heads.n_heads = 4, heads.n_layers = 3;
  heads.attention = AttentionKind::mha;
  EXPECT_EQ(of_attention(heads), 262'144);
  EXPECT_EQ(cache_bytes(heads).own, 2 * 3 * 512);
  EXPECT_EQ(cache_bytes(heads).own, cache_bytes(heads).mha);
  heads.attention = AttentionKind::gqa, heads.n_kv_heads = 2;
  EXPECT_EQ(of_attention(heads), 196'608);
  EXPECT_EQ(cache_bytes(heads).own, 2 * 3 * 256);
  // Scores and values of four heads, whoever shares keys: 2 (64 + 64) 4 per pair of tokens and layer.
  EXPECT_DOUBLE_EQ(count_flops(heads, 1000).attention_full, 3 * 4 * 2 * 128 * 1000.0);
  EXPECT_DOUBLE_EQ(rope_frequencies(heads)[1], std::pow(10000.0, -2.0 / 64));
  EXPECT_EQ(rope_frequencies(heads).size(), 32u);
}

// transformers' Llama puts all of YaRN's mscale into cos and sin, none into the scale of scores.
TEST(Arch, AppliesYarnToLlamasAttentionAsTransformersDoes) {
  ModelConfig model;
  model.vocab_size = 100, model.attention = AttentionKind::mha, model.head_dim = 64;
  model.yarn.factor = 4, model.yarn.mscale_all_dim = 0;
  EXPECT_DOUBLE_EQ(softmax_scale(model), 0.125);
  EXPECT_DOUBLE_EQ(rope_multiplier(model), 0.1 * std::log(4.0) + 1);
}

TEST(Arch, RowsOfHalfSplitHeadsArePermutedWithinHeads) {
  const std::vector<int64_t> of_six = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
  for (int64_t row = 0; row < 12; ++row) EXPECT_EQ(row_of_half_split(row, 6), of_six[size_t(row)]) << row;
}

TEST(Arch, CountsTheSiblings) {
  EXPECT_NEAR(double(count_parameters(shipped("deepseek-v2-lite-16b")).total), 15.7e9, 0.1e9);
  EXPECT_NEAR(double(count_parameters(shipped("deepseek-v2-236b")).total), 235.7e9, 1e9);
}

TEST(Arch, AppliesYarnAsTheReleasedModelDoes) {
  auto model = shipped("deepseek-v3-671b");
  EXPECT_DOUBLE_EQ(softmax_scale(model), 1 / std::sqrt(192.0));  // base pre-training: plain RoPE
  model.yarn.factor = 40;
  const auto f = rope_frequencies(model);
  const std::pair<int, double> published[] = {
      {0, 1},       {1, 0.74989421},    {10, 0.056234133},   {11, 0.039006927},   {12, 0.026879360},
      {16, 0.0055}, {17, 0.0035619975}, {22, 1.77827941e-4}, {23, 3.33380358e-5}, {31, 3.33380358e-6}};
  for (const auto& [index, value] : published) EXPECT_NEAR(f[index] / value, 1, 1e-7) << index;
  EXPECT_NEAR(softmax_scale(model), 0.13523378, 1e-8);
  EXPECT_DOUBLE_EQ(rope_multiplier(model), 1.0);
  EXPECT_NEAR(softmax_scale(shipped("deepseek-v2-lite-16b")), 0.1147214, 1e-7);
}

TEST(Arch, NamesEveryParameterOnce) {
  for (const char* name : {"deepseek-v3-671b", "deepseek-v2-lite-16b", "demo"}) {
    auto model = shipped(name);
    if (model.vocab_size == 0) model.vocab_size = 512;
    std::set<std::string> ours, theirs;
    for (const auto& spec : parameter_list(model)) {
      EXPECT_TRUE(ours.insert(spec.name).second) << spec.name;
      EXPECT_TRUE(theirs.insert(spec.hf_name).second) << spec.hf_name;
      EXPECT_GT(spec.count(), 0) << spec.name;
      EXPECT_EQ(spec.decayed, spec.kind != ParameterKind::norm && spec.kind != ParameterKind::router_bias) << spec.name;
    }
  }
}

TEST(Arch, ScalesTheReportsInitialisationWithTheWidth) {
  ModelConfig model;
  model.hidden_size = 7168;
  EXPECT_DOUBLE_EQ(default_init_std(model), 0.006);
  model.hidden_size = 7168 / 4;
  EXPECT_DOUBLE_EQ(default_init_std(model), 0.012);
  model.init_std = 0.5;
  EXPECT_DOUBLE_EQ(default_init_std(model), 0.5);
}

}  // namespace
}  // namespace hadal
