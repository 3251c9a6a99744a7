// The list itself. Shapes follow §1.3 and §1.7 of the released model: weights [out, in], no bias vectors anywhere.
#include "arch/parameter_list.h"

#include <cmath>

#include "base/error.h"

namespace hadal {

const char* kind_name(ParameterKind kind) {
  switch (kind) {
    case ParameterKind::embedding: return "embedding";
    case ParameterKind::head: return "head";
    case ParameterKind::norm: return "norm";
    case ParameterKind::attention: return "attention";
    case ParameterKind::dense_ffn: return "dense FFN";
    case ParameterKind::shared_expert: return "shared experts";
    case ParameterKind::routed_expert: return "routed experts";
    case ParameterKind::router: return "router";
    case ParameterKind::router_bias: return "router bias";
    case ParameterKind::mtp_projection: return "MTP projection";
  }
  return "?";
}

std::string ParameterSpec::hf_name_of(int64_t expert) const {
  constexpr std::string_view kIndex = "{e}";
  std::string one = hf_name;
  if (const size_t at = one.find(kIndex); at != std::string::npos)
    one.replace(at, kIndex.size(), std::to_string(expert));
  return one;
}

int64_t ParameterSpec::count() const {
  int64_t n = 1;
  for (int64_t size : shape) n *= size;
  return n;
}

double default_init_std(const ModelConfig& config) {
  // The report's 0.006 belongs to its width of 7168; a narrower model keeps the same scale of activations with
  // 1/sqrt(width).
  return config.init_std > 0 ? config.init_std : 0.006 * std::sqrt(7168.0 / double(config.hidden_size));
}

namespace {

class ListBuilder {
 public:
  explicit ListBuilder(const ModelConfig& config) : config_(config), std_(default_init_std(config)) {}

  std::vector<ParameterSpec> build() {
    const auto& c = config_;
    matrix("embedding", "model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, ParameterKind::embedding);
    for (layer_ = 0; layer_ < c.n_layers; ++layer_) block();
    layer_ = -1;
    norm("final_norm", "model.norm.weight", c.hidden_size);
    if (!c.tie_embeddings) matrix("head", "lm_head.weight", {c.vocab_size, c.hidden_size}, ParameterKind::head);
    for (int64_t k = 0; k < c.n_mtp; ++k) {
      layer_ = c.n_layers + k;
      mtp_inputs();
      block();
      norm(ours("mtp.final_norm"), theirs("shared_head.norm.weight"), c.hidden_size);
    }
    return std::move(list_);
  }

 private:
  std::string ours(const std::string& name) const { return fmt::format("layers.{}.{}", layer_, name); }
  std::string theirs(const std::string& name) const { return fmt::format("model.layers.{}.{}", layer_, name); }

  ParameterSpec& put(std::string name, std::string hf_name, std::vector<int64_t> shape, ParameterKind kind) {
    ParameterSpec spec;
    spec.number = int64_t(list_.size());
    spec.name = std::move(name);
    spec.hf_name = std::move(hf_name);
    spec.shape = std::move(shape);
    spec.kind = kind;
    spec.layer = layer_;
    list_.push_back(std::move(spec));
    return list_.back();
  }
  void matrix(std::string name, std::string hf_name, std::vector<int64_t> shape, ParameterKind kind) {
    auto& spec = put(std::move(name), std::move(hf_name), std::move(shape), kind);
    spec.init_std = std_;
    spec.high_precision = kind == ParameterKind::router;
  }
  void norm(std::string name, std::string hf_name, int64_t size) {
    auto& spec = put(std::move(name), std::move(hf_name), {size}, ParameterKind::norm);
    spec.high_precision = true;
    spec.decayed = false;
  }

  void block() {
    const auto& c = config_;
    norm(ours("attention_norm"), theirs("input_layernorm.weight"), c.hidden_size);
    attention();
    norm(ours("ffn_norm"), theirs("post_attention_layernorm.weight"), c.hidden_size);
    if (c.is_moe_layer(layer_)) {
      moe();
    } else {
      ffn("ffn.", "mlp.", c.dense_ffn_size, ParameterKind::dense_ffn);
    }
  }

  void attention() {
    const auto& c = config_;
    const auto kind = ParameterKind::attention;
    const int64_t q_out = c.n_heads * c.qk_head_dim(), o_in = c.n_heads * c.value_head_dim();
    if (!c.is_latent()) {
      matrix(ours("attention.q"), theirs("self_attn.q_proj.weight"), {q_out, c.hidden_size}, kind);
      list_.back().rotated_head = c.whole_head_dim();
      const int64_t kv_out = c.key_value_heads() * c.whole_head_dim();
      matrix(ours("attention.k"), theirs("self_attn.k_proj.weight"), {kv_out, c.hidden_size}, kind);
      list_.back().rotated_head = c.whole_head_dim();
      matrix(ours("attention.v"), theirs("self_attn.v_proj.weight"), {kv_out, c.hidden_size}, kind);
      matrix(ours("attention.o"), theirs("self_attn.o_proj.weight"), {c.hidden_size, o_in}, kind);
      return;
    }
    if (c.q_lora_rank > 0) {
      matrix(ours("attention.q_a"), theirs("self_attn.q_a_proj.weight"), {c.q_lora_rank, c.hidden_size}, kind);
      norm(ours("attention.q_a_norm"), theirs("self_attn.q_a_layernorm.weight"), c.q_lora_rank);
      matrix(ours("attention.q_b"), theirs("self_attn.q_b_proj.weight"), {q_out, c.q_lora_rank}, kind);
    } else {
      matrix(ours("attention.q"), theirs("self_attn.q_proj.weight"), {q_out, c.hidden_size}, kind);
    }
    matrix(ours("attention.kv_a"), theirs("self_attn.kv_a_proj_with_mqa.weight"),
           {c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size}, kind);
    norm(ours("attention.kv_a_norm"), theirs("self_attn.kv_a_layernorm.weight"), c.kv_lora_rank);
    matrix(ours("attention.kv_b"), theirs("self_attn.kv_b_proj.weight"),
           {c.n_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank}, kind);
    matrix(ours("attention.o"), theirs("self_attn.o_proj.weight"), {c.hidden_size, o_in}, kind);
  }

  void ffn(const std::string& prefix, const std::string& hf_prefix, int64_t size, ParameterKind kind) {
    const int64_t hidden = config_.hidden_size;
    matrix(ours(prefix + "gate"), theirs(hf_prefix + "gate_proj.weight"), {size, hidden}, kind);
    matrix(ours(prefix + "up"), theirs(hf_prefix + "up_proj.weight"), {size, hidden}, kind);
    matrix(ours(prefix + "down"), theirs(hf_prefix + "down_proj.weight"), {hidden, size}, kind);
  }

  void moe() {
    const auto& c = config_;
    const int64_t experts = c.n_routed_experts, size = c.expert_ffn_size, hidden = c.hidden_size;
    matrix(ours("moe.router"), theirs("mlp.gate.weight"), {experts, hidden}, ParameterKind::router);
    if (c.selection_bias) {
      auto& bias =
          put(ours("moe.bias"), theirs("mlp.gate.e_score_correction_bias"), {experts}, ParameterKind::router_bias);
      bias.high_precision = true;
      bias.trained = bias.decayed = false;
    }
    const auto kind = ParameterKind::routed_expert;
    matrix(ours("moe.experts.gate"), theirs("mlp.experts.{e}.gate_proj.weight"), {experts, size, hidden}, kind);
    matrix(ours("moe.experts.up"), theirs("mlp.experts.{e}.up_proj.weight"), {experts, size, hidden}, kind);
    matrix(ours("moe.experts.down"), theirs("mlp.experts.{e}.down_proj.weight"), {experts, hidden, size}, kind);
    if (c.n_shared_experts > 0) {
      ffn("moe.shared.", "mlp.shared_experts.", c.n_shared_experts * size, ParameterKind::shared_expert);
    }
  }

  void mtp_inputs() {
    const int64_t hidden = config_.hidden_size;
    norm(ours("mtp.embedding_norm"), theirs("enorm.weight"), hidden);
    norm(ours("mtp.hidden_norm"), theirs("hnorm.weight"), hidden);
    matrix(ours("mtp.projection"), theirs("eh_proj.weight"), {hidden, 2 * hidden}, ParameterKind::mtp_projection);
  }

  const ModelConfig& config_;
  double std_;
  int64_t layer_ = -1;
  std::vector<ParameterSpec> list_;
};

}  // namespace

std::vector<ParameterSpec> parameter_list(const ModelConfig& config) { return ListBuilder(config).build(); }

}  // namespace hadal
