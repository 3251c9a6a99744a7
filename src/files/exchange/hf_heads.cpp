// Llama's attention in config.json: LlamaForCausalLM for dense models, Glm4MoeForCausalLM for those with V3's experts.
#include "base/error.h"
#include "exchange/hf_fields.h"

namespace hadal {

using nlohmann::ordered_json;

void read_hf_heads(const HfFields& fields, ModelConfig& m) {
  const int64_t shared = fields.whole("num_key_value_heads", 1).value_or(m.n_heads);
  m.attention = shared == m.n_heads ? AttentionKind::mha : AttentionKind::gqa;
  m.n_kv_heads = m.attention == AttentionKind::gqa ? shared : 0;
  m.head_dim = fields.whole("head_dim", 2).value_or(0);
  if (fields.truth("use_qk_norm").value_or(false))
    fields.unsupported("use_qk_norm", "queries and keys are not normed here (false)");
}

void check_hf_heads(const ModelConfig& m) {
  const char* kind = enum_name(m.attention);
  const auto refuse = [&](bool no_class, const std::string& setting, const char* why) {
    check(!no_class, ErrorKind::unsupported,
          "model.{} with model.attention = \"{}\" cannot be written for Hugging Face: {}", setting, kind, why);
  };
  if (m.n_routed_experts == 0) {
    refuse(m.n_mtp > 0, fmt::format("n_mtp = {}", m.n_mtp), "LlamaForCausalLM has no multi-token prediction (0)");
    refuse(m.hidden_size % m.n_heads != 0, fmt::format("hidden_size = {}", m.hidden_size),
           "LlamaForCausalLM wants a multiple of model.n_heads");
    return;
  }
  refuse(m.n_mtp > 0, fmt::format("n_mtp = {}", m.n_mtp),
         "the modules of Glm4MoeForCausalLM have not been compared with ours (0)");
  refuse(m.score_function != ScoreFunction::sigmoid, "score_function = \"softmax\"",
         "Glm4MoeForCausalLM, the class with experts, scores them by \"sigmoid\"");
  refuse(m.n_groups > 1 && m.group_score != GroupScore::top2_sum, "group_score = \"max\"",
         "Glm4MoeForCausalLM takes the sum of the two best (\"top2_sum\")");
  refuse(!m.selection_bias, "selection_bias = false", "Glm4MoeForCausalLM always has the bias");
}

void write_hf_heads(const ModelConfig& m, ordered_json& json) {
  json["num_attention_heads"] = m.n_heads;
  json["num_key_value_heads"] = m.key_value_heads();
  json["head_dim"] = m.whole_head_dim();
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  if (m.n_routed_experts > 0) {
    json["use_qk_norm"] = false;
  } else {
    json["mlp_bias"] = false;
  }
}

}  // namespace hadal
