#include "model/parts.h"

#include <cmath>

#include "arch/arch.h"
#include "base/error.h"

namespace hadal {
namespace {

class Wiring {
 public:
  Wiring(const ModelConfig& config, const std::function<Parameter*(const std::string&)>& find, const Recipe& recipe)
      : config_(config), find_(find), recipe_(recipe) {}

  Linear linear(const std::string& name, const GemmRecipe& recipe) const { return {find_(prefix_ + name), recipe}; }
  Norm norm(const std::string& name, double eps) const { return {find_(prefix_ + name), eps}; }
  Mlp mlp(const std::string& name, const GemmRecipe& gate_up, const GemmRecipe& down) const {
    return {linear(name + "gate", gate_up), linear(name + "up", gate_up), linear(name + "down", down)};
  }

  Block block(int64_t layer) {
    prefix_ = fmt::format("layers.{}.", layer);
    Block block;
    block.attention.norm = norm("attention_norm", config_.rms_eps);
    block.attention.mla = mla();
    block.ffn.norm = norm("ffn_norm", config_.rms_eps);
    if (config_.is_moe_layer(layer)) {
      block.ffn.moe = moe();
    } else {
      block.ffn.dense = mlp("ffn.", recipe_.ffn_gate_up, recipe_.ffn_down);
    }
    return block;
  }

  MtpModule mtp(int64_t layer) {
    MtpModule module;
    module.block = block(layer);
    module.embedding_norm = norm("mtp.embedding_norm", config_.rms_eps);
    module.hidden_norm = norm("mtp.hidden_norm", config_.rms_eps);
    module.projection = linear("mtp.projection", recipe_.mtp_projection);
    module.final_norm = norm("mtp.final_norm", config_.rms_eps);
    return module;
  }

 private:
  Mla mla() const {
    Mla::Weights w;
    if (config_.q_lora_rank > 0) {
      w.q_a = linear("attention.q_a", recipe_.q_a);
      w.q_a_norm = norm("attention.q_a_norm", config_.latent_norm_eps);
      w.q_b = linear("attention.q_b", recipe_.q_b);
    } else {
      w.q_b = linear("attention.q", recipe_.q_b);
    }
    w.kv_a = linear("attention.kv_a", recipe_.kv_a);
    w.kv_a_norm = norm("attention.kv_a_norm", config_.latent_norm_eps);
    w.kv_b = linear("attention.kv_b", recipe_.kv_b);
    w.o = linear("attention.o", recipe_.o);
    return Mla(config_, w, softmax_scale(config_));
  }

  Moe moe() const {
    Moe moe;
    moe.router = linear("moe.router", recipe_.router);
    if (config_.selection_bias) moe.bias = find_(prefix_ + "moe.bias");
    moe.experts.gate = {find_(prefix_ + "moe.experts.gate"), recipe_.experts_gate_up};
    moe.experts.up = {find_(prefix_ + "moe.experts.up"), recipe_.experts_gate_up};
    moe.experts.down = {find_(prefix_ + "moe.experts.down"), recipe_.experts_down};
    if (config_.n_shared_experts > 0) moe.shared = mlp("moe.shared.", recipe_.experts_gate_up, recipe_.experts_down);
    moe.rule = route_rule(config_);
    moe.combine_wire = recipe_.combine;
    return moe;
  }

  const ModelConfig& config_;
  const std::function<Parameter*(const std::string&)>& find_;
  const Recipe& recipe_;
  std::string prefix_;
};

}  // namespace

ModelParts wire_model(const ModelConfig& config, const std::function<Parameter*(const std::string&)>& find,
                      const Recipe& recipe) {
  ModelParts parts;
  Wiring wiring(config, find, recipe);
  parts.embedding = {find("embedding")};
  for (int64_t layer = 0; layer < config.n_layers; ++layer) parts.layers.push_back(wiring.block(layer));
  parts.final_norm = {find("final_norm"), config.rms_eps};
  parts.head.head = {config.tie_embeddings ? parts.embedding.weight : find("head"), recipe.head};
  for (int64_t k = 0; k < config.n_mtp; ++k) parts.mtp.push_back(wiring.mtp(config.n_layers + k));
  return parts;
}

Tensor rope_table(const Exec& exec, const ModelConfig& config, DType dtype, int64_t n_positions) {
  const std::vector<double> frequencies = rope_frequencies(config);
  const double multiplier = rope_multiplier(config);
  const Tensor table = Tensor::empty(exec, dtype, {n_positions, config.qk_rope_head_dim});
  exec.compute->parallel_for(n_positions, [&](int64_t position, int) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = double(position) * frequencies[i];
      const int64_t at = position * config.qk_rope_head_dim + 2 * int64_t(i);
      if (dtype == DType::f64) {
        table.data<double>()[at] = std::cos(angle) * multiplier;
        table.data<double>()[at + 1] = std::sin(angle) * multiplier;
      } else {
        table.data<float>()[at] = float(std::cos(angle) * multiplier);
        table.data<float>()[at + 1] = float(std::sin(angle) * multiplier);
      }
    }
  });
  return table;
}

}  // namespace hadal
