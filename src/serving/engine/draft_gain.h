// What drafts of an MTP module gain when weights are read from memory: decoding is as fast as its bytes.
#pragma once
#include <cstdint>

#include "config/model_config.h"

namespace hadal {

// Tokens per byte with one draft a step, over those without, where the share `accepted` of drafts is right and
// n_texts are written at once. Above 1: drafts pay. Bytes are those of weights that a step touches; of E experts n
// tokens that choose k touch E (1 - (1 - k/E)^n) (uniform choices).
double draft_gain(const ModelConfig& config, double accepted, int64_t n_texts);

}  // namespace hadal
