#include "model/layers.h"

#include "arch/arch.h"
#include "base/error.h"

namespace hadal {
namespace {

class Wiring {
 public:
  Wiring(const ModelConfig& config, const std::function<Parameter*(const std::string&)>& find, const Recipe& recipe)
      : config_(config), find_(find), recipe_(recipe) {}

  // A weight and the recipe of its products; it keeps what they read.
  Parameter* weight(const std::string& name, const GemmRecipe& recipe) const {
    Parameter* parameter = find_(prefix_ + name);
    reads(recipe, *parameter);
    return parameter;
  }
  Linear linear(const std::string& name, const GemmRecipe& recipe) const { return {weight(name, recipe), recipe}; }
  Norm norm(const std::string& name, double eps) const { return {find_(prefix_ + name), eps}; }
  Mlp mlp(const std::string& name, const GemmRecipe& gate_up, const GemmRecipe& down) const {
    return {linear(name + "gate", gate_up), linear(name + "up", gate_up), linear(name + "down", down),
            recipe().swiglu_inputs};
  }

  BlockLayers block(int64_t layer) {
    high_ = layer < recipe_.high_first_layers ||
            (layer < config_.n_layers && layer >= config_.n_layers - recipe_.high_last_layers);
    prefix_ = fmt::format("layers.{}.", layer);
    BlockLayers block;
    block.attention_norm = norm("attention_norm", config_.rms_eps);
    if (config_.is_latent()) {
      block.mla = mla();
    } else {
      block.grouped = grouped();
    }
    block.ffn_norm = norm("ffn_norm", config_.rms_eps);
    if (config_.is_moe_layer(layer)) {
      block.moe = moe();
    } else {
      block.dense = mlp("ffn.", recipe().ffn_gate_up, recipe().ffn_down);
    }
    return block;
  }

  MtpLayers mtp(int64_t layer) {
    MtpLayers module;
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
      w.q_a = linear("attention.q_a", recipe().q_a);
      w.q_a_norm = norm("attention.q_a_norm", config_.latent_norm_eps);
      w.q_b = linear("attention.q_b", recipe().q_b);
    } else {
      w.q_b = linear("attention.q", recipe().q_b);
    }
    w.kv_a = linear("attention.kv_a", recipe().kv_a);
    w.kv_a_norm = norm("attention.kv_a_norm", config_.latent_norm_eps);
    w.kv_b = linear("attention.kv_b", recipe().kv_b);
    w.o = linear("attention.o", recipe().o);
    w.output = recipe().attention_output;
    return Mla(config_, w, softmax_scale(config_));
  }

  // Queries, and keys and values, have the entries of those latent attention's linears that read x too.
  GroupedAttention grouped() const {
    GroupedAttention::Weights w;
    w.q = linear("attention.q", recipe().q_b);
    w.k = linear("attention.k", recipe().kv_a);
    w.v = linear("attention.v", recipe().kv_a);
    w.o = linear("attention.o", recipe().o);
    w.output = recipe().attention_output;
    return GroupedAttention(config_, w, softmax_scale(config_));
  }

  Moe moe() const {
    Moe moe;
    moe.router = linear("moe.router", recipe().router);
    if (config_.selection_bias) moe.bias = find_(prefix_ + "moe.bias");
    moe.experts.gate = {weight("moe.experts.gate", recipe().experts_gate_up), recipe().experts_gate_up};
    moe.experts.up = {weight("moe.experts.up", recipe().experts_gate_up), recipe().experts_gate_up};
    moe.experts.down = {weight("moe.experts.down", recipe().experts_down), recipe().experts_down};
    moe.experts.kept = recipe().swiglu_inputs;
    if (config_.n_shared_experts > 0) moe.shared = mlp("moe.shared.", recipe().experts_gate_up, recipe().experts_down);
    moe.rule = route_rule(config_);
    moe.combine_wire = recipe_.combine;
    return moe;
  }

  const Recipe& recipe() const { return high_ ? kHigh : recipe_; }

  static inline const Recipe kHigh;
  const ModelConfig& config_;
  const std::function<Parameter*(const std::string&)>& find_;
  const Recipe& recipe_;
  bool high_ = false;  // all linears of this layer
  std::string prefix_;
};

}  // namespace

ModelLayers wire_layers(const ModelConfig& config, const StagePart& part,
                        const std::function<Parameter*(const std::string&)>& find, const Recipe& recipe) {
  ModelLayers layers;
  Wiring wiring(config, find, recipe);
  if (part.embedding || (part.head && config.n_mtp > 0)) layers.embedding = {find("embedding")};
  if (part.head) {
    layers.final_norm = wiring.norm("final_norm", config.rms_eps);
    layers.head.head = wiring.linear(config.tie_embeddings ? "embedding" : "head", recipe.head);
    if (config.tie_embeddings) layers.head.head.weight->codes_alone = false;  // rows are looked up in it too
  }
  for (int64_t layer = part.first_layer; layer < part.end_layer; ++layer) layers.blocks.push_back(wiring.block(layer));
  if (!part.head) return layers;
  for (int64_t k = 0; k < config.n_mtp; ++k) layers.mtp.push_back(wiring.mtp(config.n_layers + k));
  return layers;
}

}  // namespace hadal
