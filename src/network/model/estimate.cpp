// What a micro-batch needs, counted as the layers allocate it: weights, masters and gradients; the tensors each layer
// keeps for its backward; and the largest of the moments when something comes on top (the loss chunk, a piece's
// backward).
#include <algorithm>

#include "arch/arch.h"
#include "base/thread_pool.h"
#include "model/transformer.h"
#include "nn/head_loss.h"
#include "nn/norm.h"

namespace hadal {
namespace {

// Packed tiles of a matrix product and attention's tiles, per thread.
constexpr int64_t kWorkspacePerThread = int64_t(640) << 10;

struct Estimate {
  const ModelConfig& c;
  const ModelOptions& o;
  int64_t rows;
  int64_t a, w;  // bytes of an activation, of a statistic
  bool none, all, absorbed;

  Estimate(const ModelConfig& config, const ModelOptions& options, int64_t tokens)
      : c(config),
        o(options),
        rows(tokens),
        a(dtype_bytes(activation_dtype(options.precision))),
        w(dtype_bytes(statistics_dtype(activation_dtype(options.precision)))),
        none(options.recompute == Recompute::none),
        all(options.recompute == Recompute::all),
        absorbed(options.attention_form == AttentionForm::absorbed) {}

  int64_t parameters() const {
    int64_t bytes = 0;
    for (const ParameterSpec& spec : parameter_list(c)) {
      bytes += spec.count() * w;
      if (a != w && !spec.high_precision) bytes += spec.count() * a;
      if (o.training && spec.trained) bytes += spec.count() * w;
    }
    return bytes;
  }

  // Per token, in bytes.
  int64_t stream() const { return c.hidden_size * a; }
  int64_t q_heads() const { return c.n_heads * c.qk_head_dim() * a; }
  int64_t values() const { return c.n_heads * c.v_head_dim * a; }
  int64_t kv_heads() const { return c.n_heads * (c.qk_nope_head_dim + c.v_head_dim) * a; }
  int64_t absorbed_heads() const { return c.n_heads * (c.kv_lora_rank + c.qk_rope_head_dim) * a; }
  int64_t latents() const { return (c.q_lora_rank + c.kv_lora_rank + c.qk_rope_head_dim) * a + 2 * w; }
  int64_t lse() const { return c.n_heads * w; }

  int64_t attention_core() const {  // kept by Recompute::norms
    const int64_t result = absorbed ? c.n_heads * c.kv_lora_rank * a : values();
    return latents() + lse() + result + (c.q_lora_rank > 0 ? 0 : q_heads());
  }
  int64_t attention_rest() const {  // kept by Recompute::none in addition: normed input, normed latents, up-projections
    return stream() + (c.q_lora_rank + c.kv_lora_rank) * a + (c.q_lora_rank > 0 ? q_heads() : 0) +
           (absorbed ? absorbed_heads() + values() : kv_heads());
  }
  int64_t attention_saved() const {
    return stream() + w + (all ? 0 : attention_core()) + (none ? attention_rest() : 0);
  }
  int64_t ffn_width(bool moe) const {  // inner elements per token
    return moe ? c.expert_ffn_size * (c.n_experts_per_token + c.n_shared_experts) : c.dense_ffn_size;
  }
  int64_t ffn_saved(bool moe) const {
    int64_t bytes = stream() + w + (all ? 0 : 2 * ffn_width(moe) * a) + (none ? stream() : 0);
    if (moe) bytes += (2 * c.n_routed_experts + c.n_experts_per_token) * w;
    return bytes;
  }
  int64_t ffn_rest(bool moe) const {  // made again at the beginning of the piece's backward
    return (all ? 2 * ffn_width(moe) * a : 0) + (none ? 0 : stream());
  }

  // On top of what all layers keep, while a piece runs backward.
  int64_t ffn_backward(bool moe) const {
    if (!moe) return ffn_rest(false) + 3 * stream() + c.dense_ffn_size * a;
    const int64_t sorted = c.n_experts_per_token * stream(), inner = c.n_experts_per_token * c.expert_ffn_size * a;
    return ffn_rest(true) + 2 * stream() + 2 * sorted + inner + c.n_routed_experts * w;
  }
  int64_t attention_backward() const {
    const int64_t again = (none ? 0 : attention_rest()) + (all ? attention_core() : 0);
    const int64_t gradients =
        q_heads() + (absorbed ? absorbed_heads() + 2 * c.n_heads * c.kv_lora_rank * a : kv_heads());
    return again + 2 * stream() + values() + gradients + latents();
  }
  int64_t ffn_forward(bool moe) const {  // on top of what the layer keeps
    return stream() + ffn_width(moe) * a + (moe ? 2 * c.n_experts_per_token * stream() : 0);
  }
};

int64_t head_bytes(const Estimate& e) {
  const int64_t chunk = HeadLoss::chunk_rows(e.c.vocab_size, e.rows, e.o.loss_chunk_tokens);
  return chunk * e.c.vocab_size * (e.w + (e.a != e.w ? e.a : 0));
}

}  // namespace

int64_t Transformer::estimate_bytes(const ModelConfig& config, const ModelOptions& options, int64_t micro_batch_tokens,
                                    int64_t sequence_length) {
  const Estimate e(config, options, micro_batch_tokens);
  const bool moe = config.n_routed_experts > 0 && config.n_dense_layers < config.n_layers + config.n_mtp;
  const int64_t workspace = granted_threads() * kWorkspacePerThread;
  const int64_t table =
      std::min(config.max_positions, std::max<int64_t>(sequence_length, 256)) * config.qk_rope_head_dim * e.w;
  int64_t kept = 0;
  if (options.training) {
    for (int64_t layer = 0; layer < config.n_layers + config.n_mtp; ++layer)
      kept += e.attention_saved() + e.ffn_saved(config.is_moe_layer(layer));
    kept += config.n_mtp * ((e.none ? 2 : 0) * e.stream() + 3 * e.stream());  // joined; embedding, hidden, dh
    kept += 3 * e.stream();                                                   // last state, normed, its gradient
  }
  const int64_t forward =
      4 * e.stream() + (options.training ? 0 : e.attention_saved() + e.ffn_saved(moe)) + e.ffn_forward(moe);
  const int64_t backward = options.training ? std::max(e.ffn_backward(moe), e.attention_backward()) : 0;
  const int64_t moment = std::max({forward * e.rows, backward * e.rows, head_bytes(e)});
  return e.parameters() + table + workspace + kept * e.rows + moment;
}

}  // namespace hadal
