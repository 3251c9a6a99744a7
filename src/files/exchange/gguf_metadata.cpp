// ModelConfig and vocabulary as GGUF keys. With split key/value up-projections (attn_k_b, attn_v_b) a deepseek2 model
// is run in the absorbed form: one key/value head of kv_lora_rank + rope, and the true head sizes stand in the *_mla
// keys.
#include "exchange/gguf_metadata.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {

namespace {

constexpr uint32_t kSoftmax = 1, kSigmoid = 2;

std::string key(const char* name) { return std::string("deepseek2.") + name; }

void add_attention(const ModelConfig& m, GgufKeys& keys) {
  keys.add_u32(key("attention.head_count"), uint32_t(m.n_heads));
  keys.add_u32(key("attention.head_count_kv"), 1);
  keys.add_f32(key("attention.layer_norm_rms_epsilon"), float(m.rms_eps));
  keys.add_u32(key("attention.q_lora_rank"), uint32_t(m.q_lora_rank));  // 0: direct q; readers ask for the key
  keys.add_u32(key("attention.kv_lora_rank"), uint32_t(m.kv_lora_rank));
  keys.add_u32(key("attention.key_length"), uint32_t(m.kv_lora_rank + m.qk_rope_head_dim));
  keys.add_u32(key("attention.value_length"), uint32_t(m.kv_lora_rank));
  keys.add_u32(key("attention.key_length_mla"), uint32_t(m.qk_head_dim()));
  keys.add_u32(key("attention.value_length_mla"), uint32_t(m.v_head_dim));
}

void add_rope(const ModelConfig& m, GgufKeys& keys) {
  keys.add_u32(key("rope.dimension_count"), uint32_t(m.qk_rope_head_dim));
  keys.add_f32(key("rope.freq_base"), float(m.rope_theta));
  if (m.yarn.factor <= 1) return;
  keys.add_string(key("rope.scaling.type"), "yarn");
  keys.add_f32(key("rope.scaling.factor"), float(m.yarn.factor));
  keys.add_u32(key("rope.scaling.original_context_length"), uint32_t(m.yarn.original_positions));
  keys.add_f32(key("rope.scaling.yarn_beta_fast"), float(m.yarn.beta_fast));
  keys.add_f32(key("rope.scaling.yarn_beta_slow"), float(m.yarn.beta_slow));
  // A tenth, by convention of the readers, who take 0 for "not given" and would then scale by another rule.
  keys.add_f32(key("rope.scaling.yarn_log_multiplier"), float(0.1 * std::max(m.yarn.mscale_all_dim, 1e-6)));
}

void add_experts(const ModelConfig& m, GgufKeys& keys) {
  const bool moe = m.n_routed_experts > 0;
  keys.add_u32(key("leading_dense_block_count"), uint32_t(moe ? std::min(m.n_dense_layers, m.n_layers) : m.n_layers));
  keys.add_u32(key("expert_feed_forward_length"), uint32_t(m.expert_ffn_size));
  keys.add_u32(key("expert_shared_count"), uint32_t(moe ? gguf_shared_experts(m) : 0));
  if (!moe) return;
  keys.add_u32(key("expert_count"), uint32_t(m.n_routed_experts));
  keys.add_u32(key("expert_used_count"), uint32_t(m.n_experts_per_token));
  keys.add_f32(key("expert_weights_scale"), float(m.routed_scale));
  keys.add_bool(key("expert_weights_norm"), m.normalize_top_k);
  keys.add_u32(key("expert_gating_func"), m.score_function == ScoreFunction::sigmoid ? kSigmoid : kSoftmax);
  if (m.n_limited_groups >= m.n_groups) return;  // no group is ever left out
  keys.add_u32(key("expert_group_count"), uint32_t(m.n_groups));
  keys.add_u32(key("expert_group_used_count"), uint32_t(m.n_limited_groups));
}

}  // namespace

int64_t gguf_shared_experts(const ModelConfig& model) { return std::max<int64_t>(1, model.n_shared_experts); }

GgufKeys gguf_model_keys(const ModelConfig& m, const std::string& name, uint32_t file_type) {
  GgufKeys keys;
  keys.add_string("general.architecture", "deepseek2");
  keys.add_string("general.type", "model");
  keys.add_string("general.name", name);
  keys.add_u32("general.file_type", file_type);
  keys.add_u32("general.quantization_version", 2);
  keys.add_u32(key("block_count"), uint32_t(m.n_layers));
  keys.add_u32(key("context_length"), uint32_t(m.max_positions));
  keys.add_u32(key("embedding_length"), uint32_t(m.hidden_size));
  keys.add_u32(key("feed_forward_length"), uint32_t(m.dense_ffn_size));
  keys.add_u32(key("vocab_size"), uint32_t(m.vocab_size));
  add_attention(m, keys);
  add_rope(m, keys);
  add_experts(m, keys);
  return keys;
}

void add_gguf_vocabulary(const ModelConfig& model, const GgufVocabulary* vocabulary, GgufKeys& keys) {
  if (vocabulary == nullptr) return keys.add_string("tokenizer.ggml.model", "no_vocab");
  const auto& v = *vocabulary;
  check(int64_t(v.tokens.size()) <= model.vocab_size, ErrorKind::invalid,
        "the tokenizer has {} ids, the model only {}: they do not belong together", v.tokens.size(), model.vocab_size);
  std::vector<std::string> tokens = v.tokens;
  std::vector<int32_t> types = v.types;
  while (int64_t(tokens.size()) < model.vocab_size) {  // padded rows of the embedding, which no text reaches
    tokens.push_back(fmt::format("[PAD{}]", tokens.size()));
    types.push_back(kGgufUnused);
  }
  keys.add_string("tokenizer.ggml.model", "gpt2");
  keys.add_string("tokenizer.ggml.pre", v.pre);
  keys.add_strings("tokenizer.ggml.tokens", tokens);
  keys.add_i32s("tokenizer.ggml.token_type", types);
  keys.add_strings("tokenizer.ggml.merges", v.merges);
  if (v.bos >= 0) keys.add_u32("tokenizer.ggml.bos_token_id", uint32_t(v.bos));
  if (v.eos >= 0) keys.add_u32("tokenizer.ggml.eos_token_id", uint32_t(v.eos));
  if (v.pad >= 0) keys.add_u32("tokenizer.ggml.padding_token_id", uint32_t(v.pad));
  keys.add_bool("tokenizer.ggml.add_bos_token", v.add_bos && v.bos >= 0);
  keys.add_bool("tokenizer.ggml.add_eos_token", v.add_eos && v.eos >= 0);
  std::vector<std::string> names;
  for (const auto& [name, source] : v.chat_templates) {
    keys.add_string(name == "default" ? "tokenizer.chat_template" : "tokenizer.chat_template." + name, source);
    if (name != "default") names.push_back(name);
  }
  if (!names.empty()) keys.add_strings("tokenizer.chat_templates", names);
}

std::vector<std::string> gguf_limits(const ModelConfig& m) {
  std::vector<std::string> limits;
  const bool groups = m.n_routed_experts > 0 && m.n_limited_groups < m.n_groups;
  check(!groups || m.n_routed_experts / m.n_groups >= 2, ErrorKind::unsupported,
        "GGUF readers score a group by its two best experts; {} groups of {} cannot be written", m.n_groups,
        m.n_routed_experts / std::max<int64_t>(1, m.n_groups));
  if (m.n_mtp > 0)
    limits.push_back(fmt::format(
        "multi-token prediction: GGUF's deepseek2 has no place for it; layers {} to {} of the model are left out",
        m.n_layers, m.n_layers + m.n_mtp - 1));
  if (m.latent_norm_eps != m.rms_eps)
    limits.push_back(
        fmt::format("latent_norm_eps {} differs from rms_eps {}: GGUF has one eps for all norms and gets the latter",
                    m.latent_norm_eps, m.rms_eps));
  if (groups && m.group_score == GroupScore::max)
    limits.push_back(
        "groups are scored by their best expert; readers of GGUF score them by the sum of the two best and will route "
        "some tokens elsewhere");
  if (m.yarn.factor > 1 && m.yarn.mscale != m.yarn.mscale_all_dim)
    limits.push_back(fmt::format("YaRN's mscale {} differs from mscale_all_dim {}: GGUF holds only the latter",
                                 m.yarn.mscale, m.yarn.mscale_all_dim));
  const bool taken_for_lite = m.n_layers == 26 || m.n_layers == 27 || (m.n_layers == 48 && m.vocab_size == 128256);
  if (taken_for_lite && m.q_lora_rank > 0)
    limits.push_back(
        fmt::format("llama.cpp takes a deepseek2 model of {} layers for a Lite one without q_lora and will "
                    "not load this one",
                    m.n_layers));
  if (m.n_routed_experts > 0 && m.n_shared_experts == 0 && m.n_dense_layers < m.n_layers)
    limits.push_back("the format wants shared experts: each MoE layer gets one of zeros, which changes no result");
  return limits;
}

}  // namespace hadal
