// Which keys of config.json are read, which are known to be without effect on inference and training here, and which
// are strangers.
#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "exchange/hf_fields.h"

namespace hadal {

namespace {

constexpr std::array<std::string_view, 48> kRead = {"architectures",
                                                    "num_experts",
                                                    "num_local_experts",
                                                    "model_type",
                                                    "dtype",
                                                    "torch_dtype",
                                                    "quantization_config",
                                                    "bos_token_id",
                                                    "eos_token_id",
                                                    "pad_token_id",
                                                    "vocab_size",
                                                    "hidden_size",
                                                    "num_hidden_layers",
                                                    "num_attention_heads",
                                                    "num_key_value_heads",
                                                    "q_lora_rank",
                                                    "kv_lora_rank",
                                                    "qk_nope_head_dim",
                                                    "qk_rope_head_dim",
                                                    "qk_head_dim",
                                                    "use_qk_norm",
                                                    "partial_rotary_factor",
                                                    "v_head_dim",
                                                    "intermediate_size",
                                                    "moe_intermediate_size",
                                                    "first_k_dense_replace",
                                                    "moe_layer_freq",
                                                    "n_routed_experts",
                                                    "n_shared_experts",
                                                    "num_experts_per_tok",
                                                    "n_group",
                                                    "topk_group",
                                                    "topk_method",
                                                    "scoring_func",
                                                    "norm_topk_prob",
                                                    "routed_scaling_factor",
                                                    "num_nextn_predict_layers",
                                                    "num_mtp_layers",
                                                    "rms_norm_eps",
                                                    "latent_norm_eps",
                                                    "initializer_range",
                                                    "rope_theta",
                                                    "rope_scaling",
                                                    "rope_parameters",
                                                    "rope_interleave",
                                                    "max_position_embeddings",
                                                    "tie_word_embeddings",
                                                    "hidden_act"};

// Said by released files or by transformers for every model; none changes what a forward pass computes.
constexpr std::array<std::string_view, 29> kWithoutEffect = {"_name_or_path",
                                                             "transformers_version",
                                                             "auto_map",
                                                             "use_cache",
                                                             "pretraining_tp",
                                                             "ep_size",
                                                             "head_dim",
                                                             "attention_bias",
                                                             "mlp_bias",
                                                             "attention_dropout",
                                                             "aux_loss_alpha",
                                                             "seq_aux",
                                                             "router_aux_loss_coef",
                                                             "output_router_logits",
                                                             "output_attentions",
                                                             "output_hidden_states",
                                                             "return_dict",
                                                             "use_return_dict",
                                                             "is_encoder_decoder",
                                                             "chunk_size_feed_forward",
                                                             "id2label",
                                                             "label2id",
                                                             "problem_type",
                                                             "sep_token_id",
                                                             "unsloth_fixed",
                                                             "_attn_implementation_autoset",
                                                             "torchscript",
                                                             "num_labels",
                                                             "experts_implementation"};

template <class List>
bool holds(const List& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

}  // namespace

void check_hf_keys(const HfFields& fields, const nlohmann::ordered_json& json, HfConfig& config) {
  std::string strangers;
  for (const auto& item : json.items()) {
    if (item.value().is_null() || holds(kRead, item.key()) || holds(kWithoutEffect, item.key())) continue;
    strangers += (strangers.empty() ? "" : ", ") + item.key();
  }
  if (!strangers.empty())
    config.notices.push_back(fmt::format("{} holds keys that Hadal does not use: {}", fields.where(), strangers));
  if (fields.number("attention_dropout").value_or(0) != 0)
    config.notices.push_back("attention_dropout is not applied: the report trains without dropout");
}

}  // namespace hadal
