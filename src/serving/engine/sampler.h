// Sampler: logits in, one token id out. Temperature 0 takes the largest logit (lowest id on ties). Otherwise softmax of
// logits / temperature, then top-k, top-p, min-p in that order, then one draw whose noise is a function of (seed,
// position) only, so a text does not depend on what else runs.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hadal {

struct SamplingOptions {
  double temperature = 1.0;  // 0 = greedy
  int64_t top_k = 0;         // 0 = off
  double top_p = 1.0;        // 1 = off
  double min_p = 0.0;        // 0 = off: drops tokens below min_p times the most likely one
  uint64_t seed = 0;
};
void validate(const SamplingOptions& options);  // throws invalid

// allowed: ids below this many are drawn (rows that only pad the vocabulary are not); position: of the token to be
// drawn.
int32_t sample_token(std::span<const float> logits, int64_t allowed, const SamplingOptions& options, int64_t position);

}  // namespace hadal
