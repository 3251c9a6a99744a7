// Sampler: logits in, one token id out. Penalties of what was written come first; ids that are suppressed are never
// drawn. Temperature 0 takes the largest logit (lowest id on ties). Otherwise softmax of logits / temperature, then
// top-k, top-p, min-p in that order, then one draw whose noise is a function of (seed, position) only, so a text does
// not depend on what else runs. The draw walks through what is left, the likeliest first; without a filter in the order
// of ids.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace hadal {

struct SamplingOptions {
  double temperature = 1.0;  // 0 = greedy
  int64_t top_k = 0;         // 0 = off
  double top_p = 1.0;        // 1 = off
  double min_p = 0.0;        // 0 = off: drops tokens below min_p times the most likely one
  uint64_t seed = 0;
  // Of tokens that stand in prompt or text: a logit above 0 is divided by it, one below multiplied. 1 = off.
  double repetition_penalty = 1.0;
  // Taken from the logit of a token of the text, once, and once for each time it stands there. 0 = off.
  double presence_penalty = 0.0, frequency_penalty = 0.0;
  std::vector<std::pair<int32_t, double>> logit_bias;  // added to the logits of these ids, after the penalties
  std::vector<int32_t> suppressed;                     // ids that are never drawn
};
void validate(const SamplingOptions& options);  // throws invalid

// allowed: ids below this many are drawn (rows that only pad the vocabulary are not); position: of the token to be
// drawn.
// mask: bit id % 32 of word id / 32 for each id that may be drawn; empty: all may. Throws invalid where none is left.
int32_t sample_token(std::span<const float> logits, int64_t allowed, const SamplingOptions& options, int64_t position,
                     std::span<const uint32_t> mask = {});

// Applies penalties and biases to logits, before the draw. prompt and text are the ids so far; others than those of the
// logits are passed over.
void penalise(std::span<float> logits, std::span<const int32_t> prompt, std::span<const int32_t> text,
              const SamplingOptions& options);

}  // namespace hadal
