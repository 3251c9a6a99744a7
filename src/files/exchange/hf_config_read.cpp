// Reading config.json: which family it is, what is refused by name, the sizes, and the cross-checks of validate() in
// its words.
#include "exchange/hf_config.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "config/config_io.h"
#include "exchange/hf_fields.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

constexpr const char* kFamily =
    "Hadal reads models of the DeepSeek-V3 family: model_type deepseek_v3 (V3, V3.1, R1, Moonlight), deepseek_v2 (V2, "
    "V2-Lite) and kimi_k2; and with Llama's attention llama and glm4_moe";

enum class Rules { v2, v3, llama, glm4_moe };
bool has_heads(Rules rules) { return rules == Rules::llama || rules == Rules::glm4_moe; }

// ---- which family --------------------------------------------------------------------------------------------------

std::optional<Rules> rules_of_architecture(const std::string& name) {
  if (name == "DeepseekV2ForCausalLM") return Rules::v2;
  if (name == "DeepseekV3ForCausalLM") return Rules::v3;
  if (name == "LlamaForCausalLM") return Rules::llama;
  if (name == "Glm4MoeForCausalLM") return Rules::glm4_moe;
  return std::nullopt;
}

std::optional<Rules> rules_of_model_type(const std::string& name) {
  if (name == "deepseek_v2") return Rules::v2;
  if (name == "deepseek_v3" || name == "kimi_k2") return Rules::v3;
  if (name == "llama") return Rules::llama;
  if (name == "glm4_moe") return Rules::glm4_moe;
  return std::nullopt;
}

void refuse_sparse_attention(const HfFields& fields) {
  constexpr const char* kWhy =
      "DeepSeek-V3.2's sparse attention (an indexer that selects keys) is another attention; Hadal has V3's full one";
  if (fields.text("model_type") == "deepseek_v32") fields.unsupported("model_type", kWhy);
  for (const char* key : {"index_topk", "index_n_heads", "index_head_dim"})
    if (fields.has(key)) fields.unsupported(key, kWhy);
}

Rules read_family(const HfFields& fields, HfConfig& config) {
  refuse_sparse_attention(fields);
  std::optional<Rules> by_type, by_class;
  std::string class_name;
  if (const auto type = fields.text("model_type")) {
    by_type = rules_of_model_type(*type);
    if (!by_type) fields.unsupported("model_type", kFamily);
    config.model_type = *type;
  }
  if (fields.has("architectures")) {
    const auto& list = fields.at("architectures");
    if (!list.is_array() || list.size() != 1 || !list[0].is_string())
      fields.wrong("architectures", "a list of one name, such as [\"DeepseekV3ForCausalLM\"]");
    class_name = list[0].get<std::string>();
    by_class = rules_of_architecture(class_name);
    if (!by_class) fields.unsupported("architectures", kFamily);
  }
  check(by_type || by_class, ErrorKind::unsupported, "{}: neither model_type nor architectures says what it is; {}",
        fields.where(), kFamily);
  check(!by_type || !by_class || *by_type == *by_class, ErrorKind::invalid,
        "{}: model_type = \"{}\" contradicts architectures = [\"{}\"]", fields.where(), config.model_type, class_name);
  const Rules rules = by_type ? *by_type : *by_class;
  static constexpr std::array kTypes{"deepseek_v2", "deepseek_v3", "llama", "glm4_moe"};  // as Rules
  if (!by_type) config.model_type = kTypes[size_t(rules)];
  return rules;
}

// ---- rules that the family does not have ----------------------------------------------------------------------------

void refuse_foreign_rules(const HfFields& fields, Rules rules) {
  for (const char* key : {"attention_bias", "mlp_bias"})
    if (fields.truth(key).value_or(false)) fields.unsupported(key, "no layer of this family has a bias vector");
  if (fields.text("hidden_act").value_or("silu") != "silu")
    fields.unsupported("hidden_act", "the family's FFN is SwiGLU with \"silu\"");
  if (fields.has("moe_layer_freq") && !(fields.at("moe_layer_freq").is_number() && fields.at("moe_layer_freq") == 1))
    fields.unsupported("moe_layer_freq", "every layer from first_k_dense_replace on has experts (1)");
  for (const char* key :
       {"sliding_window", "attn_logit_softcapping", "final_logit_softcapping", "layer_types", "text_config",
        rules == Rules::v2 || rules == Rules::llama ? "num_local_experts" : "num_experts", "compression_config"})
    if (fields.has(key)) fields.unsupported(key, "a model of this family has no such rule");
}

void check_widths(const HfFields& fields, const ModelConfig& m) {
  if (!m.is_latent()) return;
  if (const auto heads = fields.whole("num_key_value_heads", 1); heads && *heads != m.n_heads)
    fields.wrong("num_key_value_heads",
                 fmt::format("num_attention_heads = {}, or absent: latent attention shares no heads", m.n_heads));
  if (const auto width = fields.whole("qk_head_dim", 1); width && *width != m.qk_head_dim())
    fields.wrong("qk_head_dim", fmt::format("qk_nope_head_dim + qk_rope_head_dim = {}", m.qk_head_dim()));
}

// ---- sizes
// ------------------------------------------------------------------------------------------------------------

void refuse_nulls(const HfFields& fields) {
  fields.refuse_null("tie_word_embeddings", "true or false");
  fields.refuse_null("hidden_act", "\"silu\"");
  for (const char* key : {"rms_norm_eps", "initializer_range", "routed_scaling_factor", "rope_theta"})
    fields.refuse_null(key, "a number");
  fields.refuse_null("first_k_dense_replace", "a number of layers");
}

// V3's class has one MTP module where the file says nothing; whether there is one the tensors will say.
void read_mtp(const HfFields& fields, Rules rules, HfConfig& config) {
  const auto mtp = fields.whole("num_nextn_predict_layers", 0), other = fields.whole("num_mtp_layers", 0);
  check(!mtp || !other || *mtp == *other, ErrorKind::invalid,
        "{}: num_nextn_predict_layers = {} contradicts num_mtp_layers = {}", fields.where(), mtp.value_or(0),
        other.value_or(0));
  config.mtp_stated = fields.contains("num_nextn_predict_layers") || fields.contains("num_mtp_layers");
  const int64_t unsaid = (rules == Rules::v3 || rules == Rules::glm4_moe) && !config.mtp_stated ? 1 : 0;
  config.model.n_mtp = mtp ? *mtp : other.value_or(unsaid);
}

void read_latents(const HfFields& fields, ModelConfig& m) {
  check(fields.contains("q_lora_rank"), ErrorKind::invalid,
        "{}: q_lora_rank is missing; it must be a size, or null for queries without a latent", fields.where());
  m.q_lora_rank = fields.whole("q_lora_rank", 1).value_or(0);
  m.kv_lora_rank = fields.size("kv_lora_rank");
  m.qk_nope_head_dim = fields.size("qk_nope_head_dim");
  m.qk_rope_head_dim = fields.size("qk_rope_head_dim", 2);
  m.v_head_dim = fields.size("v_head_dim");
  m.latent_norm_eps = fields.number("latent_norm_eps").value_or(1e-6);
}

void read_sizes(const HfFields& fields, Rules rules, ModelConfig& m) {
  m.vocab_size = fields.size("vocab_size");
  m.hidden_size = fields.size("hidden_size");
  m.n_layers = fields.size("num_hidden_layers");
  m.n_heads = fields.size("num_attention_heads");
  has_heads(rules) ? read_hf_heads(fields, m) : read_latents(fields, m);
  m.dense_ffn_size = fields.size("intermediate_size");
  m.max_positions = fields.size("max_position_embeddings");
  refuse_nulls(fields);
  m.tie_embeddings = fields.truth("tie_word_embeddings").value_or(false);
  m.rms_eps = fields.number("rms_norm_eps").value_or(rules == Rules::glm4_moe ? 1e-5 : 1e-6);
  m.init_std = fields.number("initializer_range").value_or(0.0);
  if (fields.has("initializer_range") && m.init_std == 0)
    fields.wrong("initializer_range", "above 0, or absent: weights drawn as zeros never learn");
}

void read_dense_layers(const HfFields& fields, Rules rules, HfConfig& config) {
  auto& m = config.model;
  m.n_dense_layers = fields.whole("first_k_dense_replace", 0)
                         .value_or(rules == Rules::v2   ? 0
                                   : rules == Rules::v3 ? 3
                                                        : 1);
  if (m.n_routed_experts == 0) m.n_dense_layers = m.n_layers;
  if (m.n_dense_layers <= m.n_layers) return;
  const char* left_out = fields.contains("first_k_dense_replace") ? "" : " (left out: the class's default)";
  check(m.n_mtp == 0, ErrorKind::invalid, "{}: first_k_dense_replace = {}{} must not exceed num_hidden_layers = {}",
        fields.where(), m.n_dense_layers, left_out, m.n_layers);
  config.notices.push_back(
      fmt::format("first_k_dense_replace = {}{} exceeds num_hidden_layers = {}: every layer is dense", m.n_dense_layers,
                  left_out, m.n_layers));
  m.n_dense_layers = m.n_layers;
}

// ---- experts
// ----------------------------------------------------------------------------------------------------------

void read_v2_gate(const HfFields& fields, ModelConfig& m) {
  if (fields.text("scoring_func").value_or("softmax") != "softmax")
    fields.unsupported("scoring_func", "model_type deepseek_v2 scores experts by \"softmax\"");
  if (fields.truth("norm_topk_prob").value_or(false))
    fields.unsupported(
        "norm_topk_prob",
        "the released V2 code then drops routed_scaling_factor, transformers ignores it; no V2 model has it");
  fields.refuse_null("topk_method", "\"greedy\" or \"group_limited_greedy\"");
  const std::string method = fields.text("topk_method").value_or("greedy");
  if (method != "greedy" && method != "group_limited_greedy")
    fields.unsupported("topk_method", "model_type deepseek_v2 has \"greedy\" and \"group_limited_greedy\"");
  m.score_function = ScoreFunction::softmax;
  m.group_score = GroupScore::max;
  m.selection_bias = m.normalize_top_k = false;
  if (method == "greedy") {  // groups have no effect
    for (const char* key : {"n_group", "topk_group"}) fields.whole(key, 0);
    return;
  }
  m.n_groups = fields.size("n_group");
  m.n_limited_groups = fields.size("topk_group");
}

void read_v3_gate(const HfFields& fields, ModelConfig& m) {
  if (fields.text("scoring_func").value_or("sigmoid") != "sigmoid")
    fields.unsupported("scoring_func", "model_type deepseek_v3 scores experts by \"sigmoid\"");
  const std::string method = fields.text("topk_method").value_or("noaux_tc");
  if (method != "noaux_tc" && method != "greedy")
    fields.unsupported("topk_method", "model_type deepseek_v3 has \"noaux_tc\", or \"greedy\" without selection bias");
  m.score_function = ScoreFunction::sigmoid;
  m.group_score = GroupScore::top2_sum;
  m.selection_bias = method == "noaux_tc";
  m.normalize_top_k = fields.truth("norm_topk_prob").value_or(!fields.contains("norm_topk_prob"));  // null is false
  // V3's own numbers, where none are said
  const bool grouped = m.is_latent() && m.n_routed_experts > 0 && method == "noaux_tc";
  m.n_groups = fields.contains("n_group") ? fields.size("n_group") : grouped ? 8 : 1;
  m.n_limited_groups = fields.contains("topk_group") ? fields.size("topk_group") : grouped ? 4 : 1;
  if (method == "greedy" && m.n_groups > 1) fields.wrong("n_group", "1 with topk_method \"greedy\"");
}

void read_experts(const HfFields& fields, Rules rules, ModelConfig& m) {
  if (rules == Rules::llama) {
    m.n_routed_experts = m.n_shared_experts = 0;
    return;
  }
  const char* const other = rules == Rules::v2 ? "num_experts" : "num_local_experts";  // transformers' second name
  const char* const key = fields.contains("n_routed_experts") || !fields.has(other) ? "n_routed_experts" : other;
  check(fields.contains(key), ErrorKind::invalid,
        "{}: n_routed_experts is missing; it must be a number of experts, or null for a model without", fields.where());
  m.n_routed_experts = fields.whole(key, 0).value_or(0);
  check(fields.whole(other, 0).value_or(m.n_routed_experts) == m.n_routed_experts, ErrorKind::invalid,
        "{}: n_routed_experts = {} contradicts {} = {}", fields.where(), m.n_routed_experts, other,
        fields.whole(other, 0).value_or(0));
  // The family's classes differ in what they take where it is left out.
  if (m.n_routed_experts > 0 && !fields.contains("n_shared_experts")) fields.size("n_shared_experts");
  m.n_shared_experts = fields.whole("n_shared_experts", 0).value_or(0);
  m.routed_scale = fields.number("routed_scaling_factor").value_or(rules == Rules::v3 ? 2.5 : 1.0);
  if (m.n_routed_experts > 0) {
    m.expert_ffn_size = fields.size("moe_intermediate_size");
    m.n_experts_per_token = fields.size("num_experts_per_tok");
  } else {
    m.expert_ffn_size = fields.whole("moe_intermediate_size", 0).value_or(m.expert_ffn_size);
    m.n_experts_per_token = fields.whole("num_experts_per_tok", 0).value_or(m.n_experts_per_token);
  }
  rules == Rules::v2 ? read_v2_gate(fields, m) : read_v3_gate(fields, m);
}

// ---- storage and tokens
// ------------------------------------------------------------------------------------------------

void read_quantisation(const HfFields& fields, HfConfig& config) {
  if (!fields.has("quantization_config")) return;
  const HfFields quant = fields.section("quantization_config");
  const auto method = quant.text("quant_method");
  check(method.has_value(), ErrorKind::invalid, "{}: quantization_config.quant_method is missing; \"fp8\" is supported",
        fields.where());
  if (*method != "fp8")
    quant.unsupported("quant_method", "Hadal reads \"fp8\" weights and those that are not quantised");
  if (quant.text("fmt").value_or("e4m3") != "e4m3") quant.unsupported("fmt", "FP8 weights are \"e4m3\"");
  if (quant.text("activation_scheme").value_or("dynamic") != "dynamic")
    quant.unsupported("activation_scheme", "activations have no stored scales (\"dynamic\")");
  config.fp8 = true;
  const auto scale = quant.text("scale_fmt").value_or("float");
  if (scale != "ue8m0" && scale != "float") quant.unsupported("scale_fmt", "scales are \"ue8m0\" or \"float\"");
  config.fp8_ue8m0 = scale == "ue8m0";
  if (!quant.contains("weight_block_size")) return;
  const auto& block = quant.at("weight_block_size");
  const bool pair =
      block.is_array() && block.size() == 2 && block[0].is_number_integer() && block[1].is_number_integer();
  if (!pair || block[0] < 1 || block[1] < 1 || block[0] > (1 << 20) || block[1] > (1 << 20))
    quant.wrong("weight_block_size", "two sizes, such as [128, 128]");
  config.fp8_block_rows = block[0].get<int64_t>();
  config.fp8_block_cols = block[1].get<int64_t>();
}

void read_dtype(const HfFields& fields, HfConfig& config) {
  const char* key = fields.has("dtype") ? "dtype" : "torch_dtype";
  auto name = fields.text(key);
  if (!name) return;
  if (name->rfind("torch.", 0) == 0) name = name->substr(6);
  static constexpr std::array<const char*, 5> kTypes = {"bfloat16", "float16", "float32", "float8_e4m3fn", "float64"};
  if (std::find(kTypes.begin(), kTypes.end(), *name) == kTypes.end())
    fields.unsupported(key, "stored types are bfloat16, float16, float32 and float8_e4m3fn");
  config.dtype = *name;
}

void read_tokens(const HfFields& fields, HfConfig& config) {
  config.bos_ids = fields.ids("bos_token_id");
  config.eos_ids = fields.ids("eos_token_id");
  if (fields.has("pad_token_id") && fields.at("pad_token_id") != -1) config.pad_id = *fields.whole("pad_token_id", 0);
  for (const auto* ids : {&config.bos_ids, &config.eos_ids})
    for (int64_t id : *ids)
      if (id >= config.model.vocab_size)
        config.notices.push_back(fmt::format("{} holds {}, beyond vocab_size = {}",
                                             ids == &config.bos_ids ? "bos_token_id" : "eos_token_id", id,
                                             config.model.vocab_size));
}

// ---- validate() in the words of the file
// ---------------------------------------------------------------------------------

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

void validate_in_their_words(const ModelConfig& model, const HfFields& fields, const std::string& where) {
  // Longer names first: model.n_layers must not be found inside another.
  static constexpr std::array<std::array<const char*, 2>, 18> kNames = {
      {{"model.n_experts_per_token", "num_experts_per_tok"},
       {"model.n_routed_experts", "n_routed_experts"},
       {"model.n_limited_groups", "topk_group"},
       {"model.n_shared_experts", "n_shared_experts"},
       {"model.expert_ffn_size", "moe_intermediate_size"},
       {"model.dense_ffn_size", "intermediate_size"},
       {"model.n_dense_layers", "first_k_dense_replace"},
       {"model.max_positions", "max_position_embeddings"},
       {"model.routed_scale", "routed_scaling_factor"},
       {"model.n_groups", "n_group"},
       {"model.n_layers", "num_hidden_layers"},
       {"model.n_heads", "num_attention_heads"},
       {"model.n_kv_heads", "num_key_value_heads"},
       {"model.n_mtp", "num_nextn_predict_layers"},
       {"model.rms_eps", "rms_norm_eps"},
       {"model.init_std", "initializer_range"},
       {"model.yarn.", "rope_scaling."},
       {"model.", ""}}};
  try {
    validate(model);
  } catch (const Error& error) {
    std::string message = error.what();
    for (const auto& [ours, theirs] : kNames) replace_all(message, ours, theirs);
    std::string left_out;
    for (const auto& [ours, theirs] : kNames) {
      const std::string named = std::string(theirs) + " = ";
      if (*theirs != '\0' && message.find(named) != std::string::npos && !fields.contains(theirs))
        left_out += fmt::format("; {} is not in the file: this is its class's default", theirs);
    }
    throw Error(error.kind(), where + ": " + message + left_out);
  }
}

}  // namespace

HfConfig hf_config_from_json(std::string_view text, const std::string& where) {
  const auto json = parse_json<ordered_json>(text, where, {.object = true, .unique_names = true});
  const HfFields fields(json, where);
  HfConfig config;
  const Rules rules = read_family(fields, config);
  refuse_foreign_rules(fields, rules);
  read_quantisation(fields, config);
  read_sizes(fields, rules, config.model);
  config.half_split = has_heads(rules);
  read_mtp(fields, rules, config);
  read_experts(fields, rules, config.model);
  read_dense_layers(fields, rules, config);
  check_widths(fields, config.model);
  read_hf_rope(fields, config);
  read_dtype(fields, config);
  read_tokens(fields, config);
  validate_in_their_words(config.model, fields, where);
  check_hf_keys(fields, json, config);
  return config;
}

}  // namespace hadal
