// A model of odd sizes with everything on (q latent, groups, selection bias, shared expert, two MTP modules, YaRN), and
// batches.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/hash.h"
#include "base/random.h"
#include "model/flight.h"
#include "model/latent_cache.h"
#include "model/test_place.h"
#include "model/transformer.h"

namespace hadal::testing {

inline ModelConfig small_config() {
  ModelConfig c;
  c.vocab_size = 37;
  c.hidden_size = 20;
  c.n_layers = 3;
  c.n_dense_layers = 1;
  c.n_heads = 3;
  c.q_lora_rank = 10;
  c.kv_lora_rank = 12;
  c.qk_nope_head_dim = 6;
  c.qk_rope_head_dim = 4;
  c.v_head_dim = 5;
  c.dense_ffn_size = 18;
  c.expert_ffn_size = 7;
  c.n_routed_experts = 8;
  c.n_shared_experts = 2;
  c.n_experts_per_token = 3;
  c.n_groups = 4;
  c.n_limited_groups = 2;
  c.routed_scale = 2.5;
  c.n_mtp = 2;
  c.max_positions = 512;
  c.init_std = 0.25;
  c.yarn.factor = 4;
  c.yarn.original_positions = 64;
  c.yarn.mscale = 0.7;
  return c;
}

// Llama's attention in place of the latent one: `shared` query heads to a key/value head.
inline ModelConfig with_heads(ModelConfig c, int64_t kv_heads = 2, int64_t shared = 2, int64_t head_dim = 6) {
  const ModelConfig unsaid;
  c.attention = shared > 1 ? AttentionKind::gqa : AttentionKind::mha;
  c.n_kv_heads = shared > 1 ? kv_heads : 0;
  c.n_heads = kv_heads * shared;
  c.head_dim = head_dim;
  c.q_lora_rank = unsaid.q_lora_rank, c.kv_lora_rank = unsaid.kv_lora_rank;
  c.qk_nope_head_dim = unsaid.qk_nope_head_dim, c.qk_rope_head_dim = unsaid.qk_rope_head_dim;
  c.v_head_dim = unsaid.v_head_dim;
  return c;
}

// Every kind of attention and its forms.
struct Attention {
  AttentionForm form;
  AttentionKind kind;
  ModelConfig in(const ModelConfig& latent, int64_t kv_heads = 2, int64_t head_dim = 6) const {
    if (kind == AttentionKind::mla) return latent;
    return with_heads(latent, kv_heads, kind == AttentionKind::gqa ? 2 : 1, head_dim);
  }
  std::string text() const { return std::string(enum_name(kind)) + " " + enum_name(form); }
};
inline constexpr Attention kAttentions[] = {{AttentionForm::up_projected, AttentionKind::mla},
                                            {AttentionForm::absorbed, AttentionKind::mla},
                                            {AttentionForm::up_projected, AttentionKind::gqa},
                                            {AttentionForm::up_projected, AttentionKind::mha}};

// The same, with weights and activations of some size, for measurements of memory.
inline ModelConfig memory_config() {
  ModelConfig c = small_config();
  c.vocab_size = 300;
  c.hidden_size = 96;
  c.n_layers = 4;
  c.kv_lora_rank = 32;
  c.q_lora_rank = 48;
  c.qk_nope_head_dim = c.v_head_dim = 24;
  c.qk_rope_head_dim = 8;
  c.dense_ffn_size = 256;
  c.expert_ffn_size = 48;
  return c;
}

// The same, wide enough for sums over K to cross a border between chunks of 128 in every product. (On a device the
// tests of products alone cross it.)
inline ModelConfig wide_config() {
  ModelConfig c = small_config();
  if (kOnDevice) return c;
  c.hidden_size = 136;
  c.q_lora_rank = 130;
  c.kv_lora_rank = 132;
  c.dense_ffn_size = 150;
  c.expert_ffn_size = 131;
  c.v_head_dim = 44;
  c.init_std = 0.08;
  return c;
}

// Every way in which numbers are multiplied on this machine. FP64 has the formulas alone.
struct Arithmetic {
  Precision precision;
  Isa isa;
};
inline std::vector<Arithmetic> every_arithmetic() {
  if (kOnDevice) return {{Precision::fp32, best_isa()}, {Precision::bf16, best_isa()}};
  std::vector<Arithmetic> all = {{Precision::fp64, Isa::reference}};
  for (const Isa isa : available_isas())
    for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16})
      all.push_back({precision, isa});
  return all;
}

// One sequence per list, documents of the given lengths; masked: each document is a segment of its own.
inline MicroBatch make_batch(const std::vector<std::vector<int64_t>>& sequences, bool masked, int64_t vocab = 37,
                             uint64_t seed = 1) {
  MicroBatch batch;
  for (const auto& documents : sequences) {
    const int64_t sequence_begin = batch.n_tokens();
    for (int64_t length : documents) {
      const int64_t begin = batch.n_tokens();
      for (int64_t i = 0; i < length; ++i) {
        batch.tokens.push_back(int32_t(random_below(seed, 11, uint64_t(batch.n_tokens()), uint64_t(vocab))));
        batch.positions.push_back(int32_t(batch.n_tokens() - 1 - (masked ? begin : sequence_begin)));
      }
      if (masked) batch.segments.push_back({begin, length, begin, length});
    }
    const int64_t count = batch.n_tokens() - sequence_begin;
    if (!masked) batch.segments.push_back({sequence_begin, count, sequence_begin, count});
    batch.sequences.push_back({sequence_begin, count});
  }
  batch.targets.assign(batch.tokens.size(), -1);
  for (const ops::Segment& s : batch.segments)
    for (int64_t i = s.q_begin; i + 1 < s.q_begin + s.n_q; ++i) batch.targets[size_t(i)] = batch.tokens[size_t(i + 1)];
  return batch;
}

inline LossWeights loss_weights(const ModelConfig& config, double scale = 1.0) {
  LossWeights weights;
  weights.main = 0.04 * scale;
  weights.mtp.assign(size_t(config.n_mtp), 0.02 * scale);
  weights.balance = config.n_routed_experts > 0 ? 0.3 * scale : 0.0;
  return weights;
}

inline ModelOptions training_options(Precision precision) {
  ModelOptions options;
  options.precision = precision;
  options.training = true;
  return options;
}

// One text in a cache of its own, whose blocks it takes from the last to the first.
struct CachedText {
  std::shared_ptr<LatentCache> cache;
  std::vector<int32_t> blocks;
  int64_t length = 0;
  CachedText(const Exec& exec, const Transformer& model, int64_t max_tokens)
      : cache(model.new_cache(exec, cache_blocks_of(max_tokens))) {
    for (int64_t b = cache->n_blocks; b-- > 0;) blocks.push_back(int32_t(b));
  }
};
// Logits after the last of these tokens.
inline std::vector<float> extend(const Exec& exec, const Transformer& model, CachedText& text,
                                 std::span<const int32_t> tokens) {
  const Extension next{tokens, text.length, text.blocks};
  const Tensor logits = host_copy(model.extend(exec, *text.cache, std::span(&next, 1)).to(exec, DType::f32));
  text.length += int64_t(tokens.size());
  return {logits.data<float>(), logits.data<float>() + logits.count()};
}

// A model with random weights, norms and biases that are not their trivial initial values.
struct SmallModel {
  TestPlace owned;
  Transformer model;
  SmallModel(const ModelConfig& config, const ModelOptions& options, int threads = 2, Isa isa = best_isa(),
             const ModelShare& share = {})
      : owned(threads, isa), model(config, options, owned.exec, share) {
    model.initialize(owned.exec, 3);
    for (Parameter* p : model.parameters()) {
      const bool bias = p->spec.kind == ParameterKind::router_bias;
      if (!bias && p->spec.kind != ParameterKind::norm) continue;
      for (int64_t i = 0; i < p->master.count(); ++i)
        set_element(p->master, i, (bias ? 0.0 : 1.0) + 0.1 * random_normal(4, stream_id(p->spec.name), uint64_t(i)));
    }
    model.refresh_values(owned.exec);
  }

  LossSums forward(const MicroBatch& batch, std::vector<double>* log_probs = nullptr, RouteReplay* routes = nullptr) {
    return model.forward(owned.exec, batch, {.routes = std::span(routes, routes ? 1 : 0), .log_probs = log_probs});
  }
  LossSums forward_backward(const MicroBatch& batch, const LossWeights& weights, RouteReplay* routes = nullptr) {
    return model.forward_backward(owned.exec, batch, weights, routes);
  }
  CachedText new_text(int64_t max_tokens) { return {owned.exec, model, max_tokens}; }
  std::vector<float> extend(CachedText& text, std::span<const int32_t> tokens) {
    return testing::extend(owned.exec, model, text, tokens);
  }
  void update_selection_bias(const std::vector<std::vector<int64_t>>& load, double gamma) {
    model.update_selection_bias(owned.exec, load, gamma);
  }
};

inline std::vector<double> all_gradients(const Transformer& model) {
  std::vector<double> all;
  for (const Parameter* p : model.parameters()) {
    const Tensor grad = host_copy(p->grad);
    for (int64_t i = 0; grad && i < grad.count(); ++i) all.push_back(element(grad, i));
  }
  return all;
}

inline uint64_t gradient_hash(const Transformer& model) {
  const std::vector<double> all = all_gradients(model);
  return hash64({reinterpret_cast<const char*>(all.data()), all.size() * 8});
}

}  // namespace hadal::testing
