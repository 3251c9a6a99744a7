// What was read of a config.json beside what transformers' class says of it (tests/oracle/hf_config_peer.py).
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "arch/arch.h"
#include "exchange/hf_config.h"

namespace hadal::testing {

inline nlohmann::json ids_json(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? nlohmann::json(ids[0]) : nlohmann::json(ids);
}

inline void expect_gate(const ModelConfig& m, const nlohmann::json& said) {
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

inline void expect_rope(const ModelConfig& m, const nlohmann::json& said) {
  const auto ours = rope_frequencies(m);
  const auto theirs = said["inv_freq"].get<std::vector<double>>();
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 2e-6 * theirs[i]) << "frequency " << i;
  EXPECT_NEAR(rope_multiplier(m), said["rope_multiplier"].get<double>(), 1e-9);
  EXPECT_NEAR(softmax_scale(m), said["softmax_scale"].get<double>(), 1e-9);
}

inline void expect_same(const HfConfig& config, const nlohmann::json& said) {
  const auto& m = config.model;
  EXPECT_EQ(m.vocab_size, said["vocab_size"]);
  EXPECT_EQ(m.hidden_size, said["hidden_size"]);
  EXPECT_EQ(m.dense_ffn_size, said["intermediate_size"]);
  EXPECT_EQ(m.n_layers, said["num_hidden_layers"]);
  EXPECT_EQ(m.n_heads, said["num_attention_heads"]);
  EXPECT_EQ(m.n_heads, said["num_key_value_heads"]);
  EXPECT_EQ(m.kv_lora_rank, said["kv_lora_rank"]);
  EXPECT_EQ(m.q_lora_rank > 0 ? nlohmann::json(m.q_lora_rank) : nlohmann::json(), said["q_lora_rank"]);
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

}  // namespace hadal::testing
