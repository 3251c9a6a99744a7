// A training step of tensor ranks on virtual clocks: products cost their multiplications where they come, links are as
// fast as makes what tensor ranks send take as long as some of these. So the share of that traffic that is hidden is of
// the code, and the same on every machine.
#pragma once
#include "config/config_io.h"
#include "train/clocked_step.h"

namespace hadal::testing {

// V3 with all widths divided by 64 (but for the rotary key, 8 in place of 1; 16 heads and not 128), 16 experts and not
// 256, a vocabulary that shrinks with the number of layers too, and sequences of 64 tokens: products of layers, of
// attention over 4096 tokens and rows that travel are in V3's proportions, or rows more.
inline ModelConfig narrow_v3(int64_t layers, int64_t dense_layers) {
  ModelConfig m;
  m.n_layers = layers, m.n_dense_layers = dense_layers, m.vocab_size = 129280 / 64 * layers / 61;
  m.hidden_size = 112, m.n_heads = 16, m.q_lora_rank = 24, m.kv_lora_rank = 8;
  m.qk_nope_head_dim = m.v_head_dim = 16, m.qk_rope_head_dim = 8;
  m.dense_ffn_size = 288, m.expert_ffn_size = 32, m.n_routed_experts = 16, m.n_experts_per_token = 8;
  m.n_shared_experts = 1, m.n_groups = m.n_limited_groups = 1, m.n_mtp = 0, m.init_std = 0.02, m.max_positions = 64;
  return m;
}

enum class EqualTo : uint8_t { all_products, tensor_products };  // the latter: without MoE layers' FFNs

struct TensorFigures {
  double products = 0, traffic = 0, step = 0;  // seconds
  // Of the rank that waits longest; also what it waits for other ranks counts as not hidden.
  double hidden() const { return traffic > 0 ? 1 - (step - products) / traffic : 0; }
};

inline ClockedCase tensor_case(const ModelConfig& model, const std::string& layout) {
  ClockedCase c;
  c.model = model;
  c.parallel = parse_layout(layout);
  c.micro_batches = 1, c.rows = 1024, c.sequences = 16;
  c.each_product = 1e-9;
  return c;
}

// Traffic of the slowest rank as long as its products, or those of the pieces that tensor ranks cut.
inline TensorFigures tensor_figures(ClockedCase c, EqualTo equal) {
  const ClockedRank first = clocked_step(c).front();
  const double experts = equal == EqualTo::tensor_products ? first.experts_products : 0;
  const double speed = double(first.sent_bytes) / (first.products - experts);
  c.links = [speed](int, int) { return LinkSpeed{0, speed}; };
  TensorFigures worst;
  for (const ClockedRank& rank : clocked_step(c)) {
    const TensorFigures of{rank.products, double(rank.sent_bytes) / speed, rank.end};
    if (worst.traffic == 0 || of.hidden() < worst.hidden()) worst = of;
  }
  return worst;
}

}  // namespace hadal::testing
