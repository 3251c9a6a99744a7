// Arithmetic about a model: counts, FLOPs, cache bytes, rotary frequencies. No tensors (§1.4, §1.8).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "arch/parameter_list.h"

namespace hadal {

bool is_matrix_product(const ParameterSpec& spec);  // what rows are multiplied with: no norm, no bias, no embedding

struct ParameterCounts {
  int64_t total = 0;      // without MTP modules
  int64_t activated = 0;  // per token, with embedding and head
  int64_t activated_no_embedding = 0;
  int64_t mtp = 0;  // parameters that only the MTP modules have
};
ParameterCounts count_parameters(const ModelConfig& config);

struct FlopCounts {             // per token, multiply and add counted as two
  double linear = 0;            // forward, all matrix products with weights (head included, embedding not)
  double attention_causal = 0;  // forward, scores and values at this context, causal mean
  double attention_full = 0;    // the same without the causal half
  double mtp = 0;               // forward of the MTP modules, their head included
  double training_causal() const { return 3 * (linear + attention_causal); }
  double training_full() const { return 3 * (linear + attention_full); }
};
FlopCounts count_flops(const ModelConfig& config, int64_t context);

struct CacheBytes {
  int64_t own = 0, mha = 0, gqa8 = 0;
};  // per token, BF16: this model's, full multi-head, 8 key/value heads
CacheBytes cache_bytes(const ModelConfig& config);

std::vector<double> rope_frequencies(const ModelConfig& config);  // [rotary_dim / 2], YaRN applied when factor > 1
double rope_multiplier(const ModelConfig& config);                // on cos and sin
double softmax_scale(const ModelConfig& config);                  // 1/sqrt(qk_head_dim), of mla * mscale^2

}  // namespace hadal
