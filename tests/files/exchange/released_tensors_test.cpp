// The released layout of DeepSeek-V3, tensor by tensor against §1.7.
#include "exchange/released_tensors.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "exchange/hf_testing.h"

namespace hadal {
namespace {

using Row = std::pair<std::string, std::vector<int64_t>>;

std::map<std::string, Row> rows_of(const HfConfig& config) {
  std::map<std::string, Row> rows;
  for (const auto& tensor : released_tensors(config)) rows[tensor.name] = {tensor.dtype, tensor.shape};
  return rows;
}

int64_t bytes_of(const HfConfig& config) {
  int64_t bytes = 0;
  for (const auto& tensor : released_tensors(config)) bytes += tensor.bytes;
  return bytes;
}

TEST(ReleasedTensors, V3HasTheReleasesTensorsAndBytes) {
  const HfConfig v3 = hf_config_from_json(testing::hf_seed("deepseek_v3"), "v3");
  const auto list = released_tensors(v3);
  EXPECT_EQ(list.size(), 91991u);
  EXPECT_EQ(bytes_of(v3), 688'574'839'360);
  std::set<std::string> names;
  for (const auto& tensor : list) names.insert(tensor.name);
  EXPECT_EQ(names.size(), list.size());
}

TEST(ReleasedTensors, V3NamesShapesAndTypesAreTheReleases) {
  const auto rows = rows_of(hf_config_from_json(testing::hf_seed("deepseek_v3"), "v3"));
  const std::string f8 = "F8_E4M3", f32 = "F32", bf16 = "BF16", l = "model.layers.";
  const std::map<std::string, Row> right = {{"model.embed_tokens.weight", {bf16, {129280, 7168}}},
                                            {"lm_head.weight", {bf16, {129280, 7168}}},
                                            {"model.norm.weight", {bf16, {7168}}},
                                            {l + "0.input_layernorm.weight", {bf16, {7168}}},
                                            {l + "60.post_attention_layernorm.weight", {bf16, {7168}}},
                                            {l + "0.self_attn.q_a_proj.weight", {f8, {1536, 7168}}},
                                            {l + "0.self_attn.q_a_proj.weight_scale_inv", {f32, {12, 56}}},
                                            {l + "0.self_attn.q_a_layernorm.weight", {bf16, {1536}}},
                                            {l + "0.self_attn.q_b_proj.weight", {f8, {24576, 1536}}},
                                            {l + "0.self_attn.q_b_proj.weight_scale_inv", {f32, {192, 12}}},
                                            {l + "0.self_attn.kv_a_proj_with_mqa.weight", {f8, {576, 7168}}},
                                            {l + "0.self_attn.kv_a_proj_with_mqa.weight_scale_inv", {f32, {5, 56}}},
                                            {l + "0.self_attn.kv_a_layernorm.weight", {bf16, {512}}},
                                            {l + "0.self_attn.kv_b_proj.weight", {f8, {32768, 512}}},
                                            {l + "0.self_attn.kv_b_proj.weight_scale_inv", {f32, {256, 4}}},
                                            {l + "0.self_attn.o_proj.weight", {f8, {7168, 16384}}},
                                            {l + "0.self_attn.o_proj.weight_scale_inv", {f32, {56, 128}}},
                                            {l + "2.mlp.gate_proj.weight", {f8, {18432, 7168}}},
                                            {l + "2.mlp.up_proj.weight_scale_inv", {f32, {144, 56}}},
                                            {l + "2.mlp.down_proj.weight", {f8, {7168, 18432}}},
                                            {l + "2.mlp.down_proj.weight_scale_inv", {f32, {56, 144}}},
                                            {l + "3.mlp.gate.weight", {bf16, {256, 7168}}},
                                            {l + "3.mlp.gate.e_score_correction_bias", {f32, {256}}},
                                            {l + "3.mlp.experts.255.up_proj.weight", {f8, {2048, 7168}}},
                                            {l + "3.mlp.experts.0.gate_proj.weight_scale_inv", {f32, {16, 56}}},
                                            {l + "60.mlp.experts.7.down_proj.weight", {f8, {7168, 2048}}},
                                            {l + "60.mlp.experts.7.down_proj.weight_scale_inv", {f32, {56, 16}}},
                                            {l + "3.mlp.shared_experts.down_proj.weight", {f8, {7168, 2048}}},
                                            {l + "61.enorm.weight", {bf16, {7168}}},
                                            {l + "61.hnorm.weight", {bf16, {7168}}},
                                            {l + "61.shared_head.norm.weight", {bf16, {7168}}},
                                            {l + "61.eh_proj.weight", {bf16, {7168, 14336}}},
                                            {l + "61.embed_tokens.weight", {bf16, {129280, 7168}}},
                                            {l + "61.shared_head.head.weight", {bf16, {129280, 7168}}},
                                            {l + "61.mlp.experts.255.down_proj.weight", {f8, {7168, 2048}}}};
  for (const auto& [name, row] : right) {
    ASSERT_EQ(rows.count(name), 1u) << name;
    EXPECT_EQ(rows.at(name), row) << name;
  }
  for (const char* absent : {"model.layers.2.mlp.gate.weight", "model.layers.3.mlp.gate_proj.weight",
                             "model.layers.62.enorm.weight", "model.layers.60.embed_tokens.weight"})
    EXPECT_EQ(rows.count(absent), 0u) << absent;
}

TEST(ReleasedTensors, AModelThatIsNotQuantisedHasNoScales) {
  HfConfig config = hf_config_from_json(testing::hf_seed("deepseek_v3"), "v3");
  config.fp8 = false;
  const auto rows = rows_of(config);
  EXPECT_EQ(rows.at("model.layers.3.mlp.experts.9.up_proj.weight").first, "BF16");
  EXPECT_EQ(rows.count("model.layers.3.mlp.experts.9.up_proj.weight_scale_inv"), 0u);
  EXPECT_EQ(rows.at("model.layers.3.mlp.gate.e_score_correction_bias").first, "F32");
  const HfConfig lite = hf_config_from_json(testing::hf_seed("deepseek_v2_lite"), "lite");
  EXPECT_EQ(bytes_of(lite), 2 * 15'706'484'224);  // the release's 31.4 GB in BF16
}

}  // namespace
}  // namespace hadal
