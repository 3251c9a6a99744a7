// A small model with its optimizer, and batches, for tests of the training step.
#pragma once
#include "base/random.h"
#include "model/test_place.h"
#include "train/resources.h"
#include "train/step.h"

namespace hadal::testing {

inline Config small_config(Precision precision) {
  Config config;
  auto& m = config.model;
  m.vocab_size = 50;
  m.hidden_size = 16;
  m.n_layers = 2;
  m.n_heads = 2;
  m.q_lora_rank = 8;
  m.kv_lora_rank = 8;
  m.qk_nope_head_dim = 4;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 4;
  m.dense_ffn_size = 24;
  m.expert_ffn_size = 8;
  m.n_routed_experts = 4;
  m.n_experts_per_token = 2;
  m.n_mtp = 1;
  m.init_std = 0.2;
  m.max_positions = 64;
  config.train.precision = precision;
  config.train.steps = 10;
  config.train.balance_alpha = 0.01;
  return config;
}

inline data::Batch batch_of(std::vector<int64_t> lengths, bool masked = false) {
  data::Batch batch;
  batch.masked = masked;
  RandomStream random{5, 6, 0};
  for (int64_t length : lengths) {
    data::Sequence sequence;
    for (int64_t i = 0; i < length; ++i) sequence.tokens.push_back(int32_t(random.below(50)));
    sequence.targets.assign(sequence.tokens.begin() + 1, sequence.tokens.end());
    sequence.targets.push_back(-1);
    const int64_t first = length / 3;
    sequence.passages = {{.start = 0, .length = first}, {.start = first, .length = length - first}};
    if (masked && first > 0) sequence.targets[first - 1] = -1;
    batch.sequences.push_back(std::move(sequence));
  }
  return batch;
}

struct Rig {
  explicit Rig(const Config& c, Isa isa = Isa::reference)
      : config(c),
        owned(2, isa),
        model(config.model, model_options(config, true), owned.exec),
        optimizer((model.initialize(owned.exec, 3), model.parameters()), config.optim, owned.exec) {}
  Config config;
  TestPlace owned;
  Transformer model;
  Optimizer optimizer;
};

}  // namespace hadal::testing
