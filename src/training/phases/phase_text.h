// What is known of the text of phases before they are trained: where their tokenizer lies, and how much there is.
#pragma once
#include <cstdint>
#include <string>

#include "config/phases.h"

namespace hadal {

// The one tokenizer of all phases is the first one's: of its run once that has begun, before that the configured one,
// or the one that its tokenised text brings (which may not lie there yet).
std::string phase_tokenizer(const PhasedConfig& plan);

struct PhaseSize {
  double tokens =
      0;  // at most, since packing may leave padding; by data.epochs those of the text, 0 where it is not there
  int64_t steps = 1;  // train.steps; by data.epochs as many as the tokens fill, and 1,000 where these are unknown
  int64_t vocab_size = 0;
  bool tokens_guessed = false;  // a token for every four bytes: nothing is tokenised yet
  bool vocab_guessed = false;   // tokenizer.vocab_size: the tokenizer does not lie where it should
};
PhaseSize phase_size(const PhasedConfig& plan, const Phase& phase);

}  // namespace hadal
