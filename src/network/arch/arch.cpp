// Counts, FLOPs, cache bytes and rotary frequencies from the configuration alone.
#include "arch/arch.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hadal {

namespace {

// Elements of a parameter that one token multiplies with.
int64_t active_count(const ParameterSpec& spec, const ModelConfig& config) {
  if (spec.kind != ParameterKind::routed_expert) return spec.count();
  return spec.count() / config.n_routed_experts * config.n_experts_per_token;
}

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

}  // namespace

bool is_matrix_product(const ParameterSpec& spec) {
  return spec.kind != ParameterKind::norm && spec.kind != ParameterKind::router_bias &&
         spec.kind != ParameterKind::embedding;
}

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  for (const auto& spec : parameter_list(config)) {
    if (spec.layer >= config.n_layers) {
      counts.mtp += spec.count();
      continue;
    }
    counts.total += spec.count();
    counts.activated += active_count(spec, config);
    if (spec.kind != ParameterKind::embedding) counts.activated_no_embedding += active_count(spec, config);
  }
  return counts;
}

FlopCounts count_flops(const ModelConfig& config, int64_t context) {
  FlopCounts flops;
  const double per_head = 2.0 * double(config.qk_head_dim() + config.value_head_dim());
  const double full = double(config.n_heads) * per_head * double(context);
  const double causal = full * (double(context) + 1) / (2.0 * double(context));
  for (const auto& spec : parameter_list(config)) {
    if (!is_matrix_product(spec)) continue;
    (spec.layer >= config.n_layers ? flops.mtp : flops.linear) += 2.0 * double(active_count(spec, config));
  }
  if (config.tie_embeddings) flops.linear += 2.0 * double(config.vocab_size) * double(config.hidden_size);
  flops.attention_full = full * double(config.n_layers);
  flops.attention_causal = causal * double(config.n_layers);
  flops.mtp += double(config.n_mtp) * (causal + 2.0 * double(config.vocab_size) * double(config.hidden_size));
  return flops;
}

CacheBytes cache_bytes(const ModelConfig& config) {
  const int64_t bf16 = 2;
  const int64_t key_value = config.qk_head_dim() + config.value_head_dim();
  CacheBytes bytes;
  bytes.own =
      bf16 * config.n_layers *
      (config.is_latent() ? config.kv_lora_rank + config.qk_rope_head_dim : config.key_value_heads() * key_value);
  bytes.mha = bf16 * config.n_layers * config.n_heads * key_value;
  bytes.gqa8 = bf16 * config.n_layers * std::min<int64_t>(8, config.n_heads) * key_value;
  return bytes;
}

// YaRN (§1.4): pairs that turn more than beta_fast times in the original length keep their frequency, those below
// beta_slow are slowed by the factor s, a ramp joins them: f_i = theta^(-2i/d) * ((1 - ramp_i) + ramp_i / s). The
// length of the text at hand plays no part (traps 9, 10).
std::vector<double> rope_frequencies(const ModelConfig& config) {
  const auto& yarn = config.yarn;
  const int64_t pairs = config.rotary_dim() / 2;
  const double dims = double(config.rotary_dim());
  std::vector<double> frequencies(pairs);
  // Index of the pair that turns `rotations` times within the original context.
  auto correction = [&](double rotations) {
    return dims * std::log(double(yarn.original_positions) / (2 * std::numbers::pi * rotations)) /
           (2 * std::log(config.rope_theta));
  };
  const double low = std::max(std::floor(correction(yarn.beta_fast)), 0.0);
  double high = std::min(std::ceil(correction(yarn.beta_slow)), dims - 1);
  if (low == high) high += 0.001;
  for (int64_t i = 0; i < pairs; ++i) {
    const double plain = std::pow(config.rope_theta, -2.0 * double(i) / dims);
    const double ramp = yarn.factor > 1 ? std::clamp((double(i) - low) / (high - low), 0.0, 1.0) : 0.0;
    frequencies[i] = plain * ((1 - ramp) + ramp / yarn.factor);
  }
  return frequencies;
}

double rope_multiplier(const ModelConfig& config) {
  return yarn_mscale(config.yarn.factor, config.yarn.mscale) /
         yarn_mscale(config.yarn.factor, config.yarn.mscale_all_dim);
}

// m(s, mscale_all_dim)^2 / sqrt(d_nope + d_rope): a stretched context sharpens its scores (§1.4, trap 7). Llama's
// attention, all of whose head is rotated, does the same by cos and sin alone (rope_multiplier).
double softmax_scale(const ModelConfig& config) {
  const double mscale = config.is_latent() ? yarn_mscale(config.yarn.factor, config.yarn.mscale_all_dim) : 1.0;
  return mscale * mscale / std::sqrt(double(config.qk_head_dim()));
}

}  // namespace hadal
