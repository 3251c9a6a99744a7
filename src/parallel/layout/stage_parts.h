// StagePart: the part of a model that a pipeline stage holds. A model is cut between layers, so that the stage with the
// most work has as little as it can: a layer counts the weights that a token is multiplied with, and so do the head and
// the MTP modules, which end the last stage. The embedding, which multiplies nothing, begins the first.
#pragma once
#include <cstdint>
#include <vector>

#include "arch/parameter_list.h"

namespace hadal {

struct StagePart {
  int64_t first_layer = 0, end_layer = 0;  // [first_layer, end_layer), perhaps what comes before and behind them
  bool embedding = false;
  bool head = false;  // with the final norm and all MTP modules
  static StagePart whole(const ModelConfig& config) { return {0, config.n_layers, true, true}; }
  bool operator==(const StagePart&) const = default;
};

// Throws invalid for more stages than layers.
std::vector<StagePart> stage_parts(const ModelConfig& config, int64_t n_stages);

// The stages that read a parameter, ascending: one, or two where the MTP modules or a tied head read the embedding.
std::vector<int64_t> stages_reading(const ModelConfig& config, const std::vector<StagePart>& parts,
                                    const ParameterSpec& spec);

}  // namespace hadal
