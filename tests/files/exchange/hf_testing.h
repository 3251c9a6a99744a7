// Shared by the tests of config.json: the families' files and random models that transformers has a class for.
#pragma once
#include <random>
#include <string>

#include "base/files.h"
#include "config/model_config.h"

namespace hadal::testing {

// The families' config.json, which also feed the fuzzer.
inline std::string hf_seed(const std::string& name) {
  return read_file(std::string(HADAL_SOURCE_DIR) + "/tests/fuzz/seeds/hf_config_fuzz/" + name + ".json");
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : bits_(seed) {}
  int64_t whole(int64_t low, int64_t high) { return low + int64_t(bits_() % uint64_t(high - low + 1)); }
  double real(double low, double high) { return low + (high - low) * double(bits_() >> 11) * 0x1p-53; }
  bool often() { return bits_() % 2 == 0; }

 private:
  std::mt19937_64 bits_;
};

inline void random_gate(Dice& dice, ModelConfig& m) {
  const bool v2 = dice.often();
  m.n_groups = dice.often() ? 1 : dice.whole(2, 5);
  m.n_limited_groups = dice.whole(1, m.n_groups);
  const int64_t per_group = dice.whole(2, 6);
  m.n_routed_experts = m.n_groups * per_group;
  m.n_experts_per_token = dice.whole(1, m.n_limited_groups * per_group);
  m.n_shared_experts = dice.whole(0, 2);
  m.expert_ffn_size = dice.whole(1, 40);
  m.score_function = v2 ? ScoreFunction::softmax : ScoreFunction::sigmoid;
  m.group_score = v2 ? GroupScore::max : GroupScore::top2_sum;
  m.selection_bias = !v2 && (m.n_groups > 1 || dice.often());
  m.normalize_top_k = !v2 && dice.often();
  m.routed_scale = dice.real(0.1, 20);
  if (v2) m.hidden_size = m.n_heads * dice.whole(1, 20);  // transformers' V2 wants it
}

inline ModelConfig random_hf_model(uint64_t seed) {
  Dice dice(seed);
  ModelConfig m;
  m.vocab_size = dice.whole(3, 5000);
  m.hidden_size = dice.whole(1, 200);
  m.n_layers = dice.whole(1, 6);
  m.n_heads = dice.whole(1, 9);
  m.q_lora_rank = dice.often() ? dice.whole(1, 50) : 0;
  m.kv_lora_rank = dice.whole(1, 70);
  m.qk_nope_head_dim = dice.whole(1, 33);
  m.qk_rope_head_dim = 2 * dice.whole(1, 12);
  m.v_head_dim = dice.whole(1, 33);
  m.dense_ffn_size = dice.whole(1, 300);
  m.n_routed_experts = 0;
  m.n_dense_layers = m.n_layers;
  if (dice.whole(0, 9) > 0) {
    m.n_dense_layers = dice.whole(0, m.n_layers);
    random_gate(dice, m);
  }
  m.n_mtp = dice.whole(0, 2);
  m.rms_eps = dice.real(1e-9, 1e-4);
  m.latent_norm_eps = dice.often() ? 1e-6 : dice.real(1e-9, 1e-4);
  m.rope_theta = dice.real(2, 1e6);
  m.max_positions = dice.whole(8, 100000);
  m.tie_embeddings = dice.often();
  m.init_std = dice.often() ? 0 : dice.real(0.001, 0.2);
  if (dice.often())
    m.yarn = {dice.real(1, 64),
              dice.whole(1, 8192),
              dice.real(2, 64),
              dice.real(0.1, 2),
              dice.often() ? 0 : dice.real(0, 2),
              dice.often() ? 0 : dice.real(0, 2)};
  return m;
}

}  // namespace hadal::testing
