// What drafts of an MTP module gain when weights are read from memory: decoding is as fast as its bytes.
#pragma once
#include <cstdint>

#include "config/model_config.h"

namespace hadal {

// The weights that n tokens are multiplied with, in elements: all that are no experts', and of E experts, of which each
// token chooses k, E (1 - (1 - k/E)^n) (uniform choices).
struct TouchedWeights {
  double always = 0, experts = 0, chosen = 0;  // chosen: k/E
  double by(double n_tokens) const;
};
// Of the model's layers and its head; of one more layer, its MTP module's, and the head.
TouchedWeights touched_weights(const ModelConfig& config);
TouchedWeights touched_weights_of_draft(const ModelConfig& config);

class DraftGain {
 public:
  explicit DraftGain(const ModelConfig& config);  // lists all weights: once
  // Tokens per byte with one draft a step, over those without, where the share `accepted` of drafts is right and
  // n_texts are written at once. Above 1: drafts pay.
  double operator()(double accepted, int64_t n_texts) const;

 private:
  TouchedWeights model_, draft_;
};

}  // namespace hadal
