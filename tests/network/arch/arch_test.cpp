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
  EXPECT_EQ(cache_bytes(model).latent, 70'272);
  EXPECT_EQ(cache_bytes(model).mha, 61 * 128 * (192 + 128) * 2);
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
