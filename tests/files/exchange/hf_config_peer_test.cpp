// transformers reads the config.json that we write, and we read the one that it writes: the same fields, rotary
// frequencies, factors.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "base/files.h"
#include "base/json.h"
#include "exchange/hf_config.h"
#include "exchange/hf_testing.h"

namespace hadal {
namespace {

using Json = nlohmann::json;

class HfConfigPeer : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = (std::filesystem::temp_directory_path() / "hadal_hf_config_XXXXXX").string();
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void run_peer(const std::string& arguments) {
    const std::string root = HADAL_SOURCE_DIR;
    const std::string command =
        "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/hf_config_peer.py' " + arguments;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  std::vector<Json> said() const {
    std::vector<Json> lines;
    std::ifstream file(directory_ + "/said.jsonl");
    for (std::string line; std::getline(file, line);) lines.push_back(parse_json<Json>(line, "a line"));
    return lines;
  }

  std::string directory_;
};

Json ids_json(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? Json(ids[0]) : Json(ids);
}

void expect_gate(const ModelConfig& m, const Json& said) {
  const bool v2 = said["class"] == "DeepseekV2Config";
  EXPECT_EQ(m.score_function, v2 ? ScoreFunction::softmax : ScoreFunction::sigmoid);
  EXPECT_EQ(m.n_shared_experts, said["n_shared_experts"]);
  EXPECT_EQ(m.n_experts_per_token, said["num_experts_per_tok"]);
  EXPECT_EQ(m.expert_ffn_size, said["moe_intermediate_size"]);
  EXPECT_EQ(m.routed_scale, said["routed_scaling_factor"]);
  if (!v2) {
    EXPECT_EQ(m.normalize_top_k, said["norm_topk_prob"]);
  }
  if (v2 && said["topk_method"] == "greedy") {
    EXPECT_EQ(m.n_groups, 1);
    return;
  }
  EXPECT_EQ(m.n_groups, said["n_group"]);
  EXPECT_EQ(m.n_limited_groups, said["topk_group"]);
  if (m.n_groups > 1) {
    EXPECT_EQ(m.group_score, v2 ? GroupScore::max : GroupScore::top2_sum);
  }
}

void expect_rope(const ModelConfig& m, const Json& said) {
  const auto ours = rope_frequencies(m);
  const auto theirs = said["inv_freq"].get<std::vector<double>>();
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 2e-6 * theirs[i]) << "frequency " << i;
  EXPECT_NEAR(rope_multiplier(m), said["rope_multiplier"].get<double>(), 1e-9);
  EXPECT_NEAR(softmax_scale(m), said["softmax_scale"].get<double>(), 1e-9);
}

void expect_same(const HfConfig& config, const Json& said) {
  const auto& m = config.model;
  EXPECT_EQ(m.vocab_size, said["vocab_size"]);
  EXPECT_EQ(m.hidden_size, said["hidden_size"]);
  EXPECT_EQ(m.dense_ffn_size, said["intermediate_size"]);
  EXPECT_EQ(m.n_layers, said["num_hidden_layers"]);
  EXPECT_EQ(m.n_heads, said["num_attention_heads"]);
  EXPECT_EQ(m.n_heads, said["num_key_value_heads"]);
  EXPECT_EQ(m.kv_lora_rank, said["kv_lora_rank"]);
  EXPECT_EQ(m.q_lora_rank > 0 ? Json(m.q_lora_rank) : Json(), said["q_lora_rank"]);
  EXPECT_EQ(m.qk_rope_head_dim, said["qk_rope_head_dim"]);
  EXPECT_EQ(m.qk_nope_head_dim, said["qk_nope_head_dim"]);
  EXPECT_EQ(m.v_head_dim, said["v_head_dim"]);
  EXPECT_EQ(m.max_positions, said["max_position_embeddings"]);
  EXPECT_EQ(m.rms_eps, said["rms_norm_eps"]);
  EXPECT_EQ(m.tie_embeddings, said["tie_word_embeddings"]);
  EXPECT_EQ(m.n_mtp, said["mtp"]);
  EXPECT_EQ(m.init_std > 0 ? m.init_std : 0.02, said["initializer_range"]);
  EXPECT_EQ(m.n_routed_experts, said["n_routed_experts"]);
  EXPECT_EQ(m.n_dense_layers, said["first_k_dense_replace"]);
  EXPECT_EQ(said["latent_norm_eps"], 1e-6);
  EXPECT_EQ(said["hidden_act"], "silu");
  EXPECT_EQ(said["attention_bias"], false);
  EXPECT_EQ(ids_json(config.bos_ids), said["bos_token_id"]);
  EXPECT_EQ(ids_json(config.eos_ids), said["eos_token_id"]);
  EXPECT_EQ(config.dtype, said["dtype"].get<std::string>());
  if (m.n_routed_experts > 0) expect_gate(m, said);
  expect_rope(m, said);
}

TEST_F(HfConfigPeer, TransformersUnderstandsWhatWeWrite) {
  std::vector<HfConfig> written;
  for (const char* name :
       {"deepseek_v3", "deepseek_v3_1", "deepseek_v2", "deepseek_v2_lite", "moonlight", "kimi_k2", "transformers_v3"})
    written.push_back(hf_config_from_json(testing::hf_seed(name), name));
  for (uint64_t seed = 0; seed < 200; ++seed) {
    HfConfig config;
    config.model = testing::random_hf_model(seed);
    config.dtype = seed % 2 ? "float32" : "bfloat16";
    if (seed % 3 == 0) config.bos_ids = {0}, config.eos_ids = {1, 2};
    written.push_back(config);
  }
  for (size_t n = 0; n < written.size(); ++n) {
    const auto place = std::filesystem::path(directory_) / "models" / std::to_string(n);
    std::filesystem::create_directories(place);
    std::ofstream(place / "config.json") << hf_config_to_json(written[n]);
  }
  ASSERT_NO_FATAL_FAILURE(run_peer("load '" + directory_ + "/models' '" + directory_ + "/said.jsonl'"));
  const auto lines = said();
  ASSERT_EQ(lines.size(), written.size());
  for (size_t n = 0; n < written.size(); ++n) {
    SCOPED_TRACE(hf_config_to_json(written[n]));
    expect_same(written[n], lines[n]);
    const Json& quant = lines[n]["quantization"];
    EXPECT_EQ(quant.is_object(), written[n].fp8);
    if (written[n].fp8) {
      EXPECT_EQ(quant["weight_block_size"], Json({128, 128}));
    }
    if (written[n].fp8_ue8m0) {
      EXPECT_EQ(quant["scale_fmt"], "ue8m0");
    }
    if (HasFailure()) return;
  }
}

TEST_F(HfConfigPeer, WeUnderstandWhatTransformersWrites) {
  constexpr size_t kModels = 300;
  ASSERT_NO_FATAL_FAILURE(run_peer(fmt::format("save '{0}/models' {1} '{0}/said.jsonl'", directory_, kModels)));
  const auto lines = said();
  ASSERT_EQ(lines.size(), kModels);
  for (size_t n = 0; n < kModels; ++n) {
    const std::string path = fmt::format("{}/models/{}/config.json", directory_, n);
    SCOPED_TRACE(read_file(path));
    const HfConfig config = hf_config_from_json(read_file(path), path);
    expect_same(config, lines[n]);
    EXPECT_TRUE(config.notices.empty()) << config.notices[0];
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace hadal
