// ModelConfig: sizes and rules of a model of DeepSeek-V3's family, or one with Llama's attention. Names of fields are
// ours, Hugging Face's stand in brackets. Each struct lists its fields once, in visit(): TOML and JSON in and out,
// dotted overrides, help and checkpoints read that.
#pragma once
#include <cstdint>

#include "config/enums.h"

namespace hadal {

// YaRN context extension of the rotary embedding (§1.4). factor 1 = plain RoPE.
struct YarnConfig {
  double factor = 1.0;
  int64_t original_positions = 4096;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 1.0;          // cos/sin are multiplied by mscale(factor, mscale) / mscale(factor, mscale_all_dim)
  double mscale_all_dim = 1.0;  // the softmax scale is multiplied by mscale(factor, mscale_all_dim)^2

  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("factor", c.factor, "context extension factor s; 1 is plain RoPE");
    v("original_positions", c.original_positions, "context length of pre-training");
    v("beta_fast", c.beta_fast, "rotations over the original context above which a frequency is kept");
    v("beta_slow", c.beta_slow, "rotations below which a frequency is divided by the factor");
    v("mscale", c.mscale, "numerator of the cos/sin multiplier");
    v("mscale_all_dim", c.mscale_all_dim, "denominator of the cos/sin multiplier, and the softmax scale's factor");
  }
};

struct ModelConfig {
  int64_t vocab_size = 0;                        // [vocab_size] rows of embedding and head; 0 = take the tokenizer's
  int64_t hidden_size = 256;                     // [hidden_size]
  int64_t n_layers = 4;                          // [num_hidden_layers], without MTP modules
  int64_t n_dense_layers = 1;                    // [first_k_dense_replace]
  AttentionKind attention = AttentionKind::mla;  // [model_type]
  int64_t n_heads = 4;                           // [num_attention_heads]
  int64_t n_kv_heads = 0;                        // [num_key_value_heads] of gqa; mha has n_heads, 0 says so too
  int64_t head_dim = 0;             // [head_dim] of mha and gqa, even; 0 = hidden_size / n_heads. The next five: of mla
  int64_t q_lora_rank = 0;          // [q_lora_rank]; 0 = direct q_proj
  int64_t kv_lora_rank = 64;        // [kv_lora_rank]
  int64_t qk_nope_head_dim = 32;    // [qk_nope_head_dim]
  int64_t qk_rope_head_dim = 16;    // [qk_rope_head_dim], even
  int64_t v_head_dim = 32;          // [v_head_dim]
  int64_t dense_ffn_size = 768;     // [intermediate_size]
  int64_t expert_ffn_size = 128;    // [moe_intermediate_size]
  int64_t n_routed_experts = 16;    // [n_routed_experts]; 0 = every layer dense
  int64_t n_shared_experts = 1;     // [n_shared_experts]; one FFN of n_shared * expert_ffn_size
  int64_t n_experts_per_token = 4;  // [num_experts_per_tok]
  int64_t n_groups = 1;             // [n_group]
  int64_t n_limited_groups = 1;     // [topk_group]
  ScoreFunction score_function = ScoreFunction::sigmoid;  // [scoring_func]
  GroupScore group_score = GroupScore::top2_sum;          // [topk_method]
  bool selection_bias = true;                             // e_score_correction_bias (V3); false for V2
  bool normalize_top_k = true;                            // [norm_topk_prob]
  double routed_scale = 1.0;                              // [routed_scaling_factor]
  int64_t n_mtp = 0;      // [num_nextn_predict_layers] depth D of multi-token prediction
  double rms_eps = 1e-6;  // [rms_norm_eps]
  double latent_norm_eps =
      1e-6;  // eps of q_a_layernorm and kv_a_layernorm, 1e-6 in the released code whatever rms_norm_eps says
  double rope_theta = 10000.0;   // [rope_theta]
  int64_t max_positions = 4096;  // [max_position_embeddings]
  bool tie_embeddings = false;   // [tie_word_embeddings]
  double init_std = 0.0;         // 0 = width-aware default (see arch/init); the report's 0.006 for its width
  YarnConfig yarn;

  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("vocab_size", c.vocab_size, "rows of embedding and head; 0 takes the tokenizer's size");
    v("hidden_size", c.hidden_size, "width of the residual stream");
    v("n_layers", c.n_layers, "transformer layers, without MTP modules");
    v("n_dense_layers", c.n_dense_layers, "leading layers with a dense FFN");
    v("attention", c.attention,
      "mla (latent attention), mha (keys and values of every head) or gqa (of groups of heads)");
    v("n_heads", c.n_heads, "attention heads");
    v("n_kv_heads", c.n_kv_heads, "key/value heads of gqa, each shared by n_heads / n_kv_heads query heads");
    v("head_dim", c.head_dim, "size of a head in mha and gqa, all of it rotated; even; 0 takes hidden_size / n_heads");
    v("q_lora_rank", c.q_lora_rank, "mla: width of the query latent; 0 projects queries directly");
    v("kv_lora_rank", c.kv_lora_rank, "mla: width of the key/value latent");
    v("qk_nope_head_dim", c.qk_nope_head_dim, "mla: query/key size per head without position");
    v("qk_rope_head_dim", c.qk_rope_head_dim, "mla: size of the rotary part, shared key; even");
    v("v_head_dim", c.v_head_dim, "mla: value size per head");
    v("dense_ffn_size", c.dense_ffn_size, "inner width of dense FFNs");
    v("expert_ffn_size", c.expert_ffn_size, "inner width of one expert");
    v("n_routed_experts", c.n_routed_experts, "routed experts per MoE layer; 0 makes every layer dense");
    v("n_shared_experts", c.n_shared_experts, "shared experts, one FFN of this many times expert_ffn_size");
    v("n_experts_per_token", c.n_experts_per_token, "routed experts that each token visits");
    v("n_groups", c.n_groups, "expert groups (nodes in the report)");
    v("n_limited_groups", c.n_limited_groups, "groups that a token may visit");
    v("score_function", c.score_function, "sigmoid (V3) or softmax (V2)");
    v("group_score", c.group_score, "top2_sum (V3) or max (V2)");
    v("selection_bias", c.selection_bias, "auxiliary-loss-free balancing bias, used for selection only");
    v("normalize_top_k", c.normalize_top_k, "divide the selected scores by their sum");
    v("routed_scale", c.routed_scale, "factor on the routed experts' weights");
    v("n_mtp", c.n_mtp, "multi-token prediction modules");
    v("rms_eps", c.rms_eps, "epsilon of RMSNorm");
    v("latent_norm_eps", c.latent_norm_eps, "mla: epsilon of the two latent norms");
    v("rope_theta", c.rope_theta, "base of the rotary frequencies");
    v("max_positions", c.max_positions, "longest position the model is meant for");
    v("tie_embeddings", c.tie_embeddings, "head shares the embedding's weight");
    v("init_std", c.init_std, "standard deviation of initial weights; 0 = 0.006 * sqrt(7168 / hidden_size)");
    v("yarn", c.yarn, "YaRN context extension");
  }

  // Of each kind of attention: heads that have keys and values, elements of a query or key, of a value, and those of
  // them that are rotated.
  bool is_latent() const { return attention == AttentionKind::mla; }
  int64_t key_value_heads() const { return attention == AttentionKind::gqa ? n_kv_heads : n_heads; }
  int64_t qk_head_dim() const { return is_latent() ? qk_nope_head_dim + qk_rope_head_dim : whole_head_dim(); }
  int64_t value_head_dim() const { return is_latent() ? v_head_dim : whole_head_dim(); }
  int64_t rotary_dim() const { return is_latent() ? qk_rope_head_dim : whole_head_dim(); }
  int64_t whole_head_dim() const { return head_dim > 0 ? head_dim : hidden_size / n_heads; }          // mha, gqa
  bool is_moe_layer(int64_t layer) const { return n_routed_experts > 0 && layer >= n_dense_layers; }  // MTP modules too
};

}  // namespace hadal
