// Generator: a prompt's token ids in, generated ids out, through the latent cache (§1.3). Knows ids, not text.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/sampler.h"
#include "model/transformer.h"

namespace hadal {

struct GenerateRequest {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_tokens = 128;
  std::vector<int32_t> stop;  // ids that end the text; the stop id itself is returned last
  int64_t allowed_ids = 0;    // ids below this are drawn; 0 = the whole vocabulary
  SamplingOptions sampling;
  std::function<bool(int32_t)> on_token;  // called with every new id; false ends the generation
};

struct GenerateResult {
  std::vector<int32_t> tokens;  // the new ones
  bool stopped = false;         // by a stop id
  double prefill_seconds = 0, decode_seconds = 0;
};

// Packs the weights (Transformer::pack) where `n_tokens` repay it: packing reads and writes all of them once, and each
// token then reads its share of them faster. False, and nothing is done, where they do not, or memory is short.
bool pack_for(const Exec& exec, Transformer& model, int64_t n_tokens);

// Throws invalid when prompt and max_tokens together exceed the model's positions, naming the numbers.
GenerateResult generate(const Exec& exec, const Transformer& model, const GenerateRequest& request);

}  // namespace hadal
