// Writing config.json so that transformers, old and new, loads it unchanged.
#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "config/config_io.h"
#include "exchange/hf_fields.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

// V2's class has the softmax gate, V3's the sigmoid one; what lies between has no class in transformers.
bool writes_as_v2(const ModelConfig& m) { return m.n_routed_experts > 0 && m.score_function == ScoreFunction::softmax; }

const char* class_of(const ModelConfig& m) {
  if (!m.is_latent()) return m.n_routed_experts > 0 ? "Glm4MoeForCausalLM" : "LlamaForCausalLM";
  return writes_as_v2(m) ? "DeepseekV2ForCausalLM" : "DeepseekV3ForCausalLM";
}
const char* type_of(const ModelConfig& m) {
  if (!m.is_latent()) return m.n_routed_experts > 0 ? "glm4_moe" : "llama";
  return writes_as_v2(m) ? "deepseek_v2" : "deepseek_v3";
}

void check_expressible(const ModelConfig& m) {
  validate(m);
  if (!m.is_latent()) return check_hf_heads(m);
  if (m.n_routed_experts == 0) return;
  const char* name = class_of(m);
  auto refuse = [&](bool no_class, const std::string& setting, const char* right) {
    check(!no_class, ErrorKind::unsupported,
          "model.{} with model.score_function = \"{}\" cannot be written for Hugging Face: {} has {}", setting,
          enum_name(m.score_function), name, right);
  };
  const bool groups = m.n_groups > 1;
  if (writes_as_v2(m)) {
    refuse(m.selection_bias, "selection_bias = true", "no selection bias");
    refuse(m.normalize_top_k, "normalize_top_k = true", "no normalisation of the selected scores");
    refuse(groups && m.group_score != GroupScore::max, "group_score = \"top2_sum\"", "the group's maximum (\"max\")");
    check(m.hidden_size % m.n_heads == 0, ErrorKind::unsupported,
          "model.hidden_size = {} cannot be written for Hugging Face: DeepseekV2ForCausalLM wants a multiple of "
          "model.n_heads = {}",
          m.hidden_size, m.n_heads);
  } else {
    refuse(groups && m.group_score != GroupScore::top2_sum, "group_score = \"max\"",
           "the sum of the two best (\"top2_sum\")");
    refuse(groups && !m.selection_bias, "selection_bias = false", "groups only together with the bias");
  }
}

void write_experts(const ModelConfig& m, ordered_json& json) {
  const bool v2 = writes_as_v2(m), dense = m.n_routed_experts == 0;
  json["first_k_dense_replace"] = dense ? m.n_layers : m.n_dense_layers;
  json["moe_layer_freq"] = 1;
  json["n_routed_experts"] = m.n_routed_experts;
  json["n_shared_experts"] = m.n_shared_experts;
  json["num_experts_per_tok"] = m.n_experts_per_token;
  json["n_group"] = dense ? 1 : m.n_groups;
  json["topk_group"] = dense ? 1 : m.n_limited_groups;
  if (v2)
    json["topk_method"] = m.n_groups > 1 ? "group_limited_greedy" : "greedy";
  else
    json["topk_method"] = dense || m.selection_bias ? "noaux_tc" : "greedy";
  json["scoring_func"] = v2 ? "softmax" : "sigmoid";
  json["norm_topk_prob"] = m.normalize_top_k;
  json["routed_scaling_factor"] = m.routed_scale;
  json["ep_size"] = 1;
}

void write_attention(const ModelConfig& m, ordered_json& json) {
  json["num_attention_heads"] = m.n_heads;
  json["num_key_value_heads"] = m.n_heads;
  json["q_lora_rank"] = m.q_lora_rank > 0 ? ordered_json(m.q_lora_rank) : ordered_json();
  json["kv_lora_rank"] = m.kv_lora_rank;
  json["qk_nope_head_dim"] = m.qk_nope_head_dim;
  json["qk_rope_head_dim"] = m.qk_rope_head_dim;
  json["v_head_dim"] = m.v_head_dim;
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
}

ordered_json ids_json(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? ordered_json(ids[0]) : ordered_json(ids);
}

void write_storage(const HfConfig& config, ordered_json& json) {
  json["bos_token_id"] = ids_json(config.bos_ids);
  json["eos_token_id"] = ids_json(config.eos_ids);
  json["pad_token_id"] = config.pad_id >= 0 ? ordered_json(config.pad_id) : ordered_json();
  json["torch_dtype"] = config.dtype;  // both names: transformers before and from 4.56
  json["dtype"] = config.dtype;
  json["use_cache"] = true;
  if (!config.fp8) return;
  ordered_json quant = {{"quant_method", "fp8"},
                        {"fmt", "e4m3"},
                        {"activation_scheme", "dynamic"},
                        {"weight_block_size", ordered_json::array({config.fp8_block_rows, config.fp8_block_cols})}};
  if (config.fp8_ue8m0) quant["scale_fmt"] = "ue8m0";
  if (!config.fp8_high.empty()) quant["modules_to_not_convert"] = config.fp8_high;
  json["quantization_config"] = quant;
}

}  // namespace

std::string hf_config_obstacle(ModelConfig model) {
  if (model.vocab_size == 0) model.vocab_size = 256;
  try {
    check_expressible(model);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::unsupported) return error.what();
    throw;
  }
  return "";
}

std::string hf_config_to_json(const HfConfig& config) {
  const auto& m = config.model;
  check_expressible(m);
  const bool dense_class = !m.is_latent() && m.n_routed_experts == 0;  // Llama's knows nothing of experts
  ordered_json json = {{"architectures", ordered_json::array({class_of(m)})},
                       {"model_type", type_of(m)},
                       {"vocab_size", m.vocab_size},
                       {"hidden_size", m.hidden_size},
                       {"intermediate_size", m.dense_ffn_size}};
  if (!dense_class) json["moe_intermediate_size"] = m.expert_ffn_size;
  json["num_hidden_layers"] = m.n_layers;
  if (!dense_class) json["num_nextn_predict_layers"] = m.n_mtp;
  m.is_latent() ? write_attention(m, json) : write_hf_heads(m, json);
  if (!dense_class) write_experts(m, json);
  json["hidden_act"] = "silu";
  json["max_position_embeddings"] = m.max_positions;
  write_hf_rope(m, json);
  json["rms_norm_eps"] = m.rms_eps;
  if (m.latent_norm_eps != 1e-6) json["latent_norm_eps"] = m.latent_norm_eps;
  if (m.init_std > 0) json["initializer_range"] = m.init_std;
  json["tie_word_embeddings"] = m.tie_embeddings;
  write_storage(config, json);
  return json_text(json, {.indent = 2}) + "\n";
}

std::vector<std::string> hf_config_limits(const ModelConfig& m) {
  std::vector<std::string> limits;
  if (m.latent_norm_eps != 1e-6)
    limits.push_back(fmt::format("latent_norm_eps = {}: transformers always takes 1e-06 for the two latent norms",
                                 m.latent_norm_eps));
  if (m.n_mtp > 0)
    limits.push_back(fmt::format("{} multi-token prediction module{}: transformers loads the main model without",
                                 m.n_mtp, m.n_mtp == 1 ? "" : "s"));
  if (m.n_routed_experts > 0 && m.n_shared_experts == 0)
    limits.push_back("no shared experts: transformers makes empty ones and says that their weights are new");
  if (m.n_routed_experts > 0 && !m.selection_bias && m.score_function == ScoreFunction::sigmoid)
    limits.push_back("no selection bias: transformers makes one of zeros and says that it is new");
  return limits;
}

}  // namespace hadal
