// What a run's checkpoint holds, brought together from the ranks and given back to them. Files do not tell by how many
// ranks they were made.
#pragma once
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "optim/optimizer.h"
#include "text/tokenizer.h"
#include "train/train_state.h"

namespace hadal {

// Fills the moments that this rank keeps.
void load_moments(const Exec& exec, const std::filesystem::path& checkpoint, const Optimizer& optimizer);

// Masters and moments, whole, of a model with these parameters in all; on the first rank, elsewhere nothing. All ranks
// call it.
CheckpointContent gather_state(const Exec& exec, const std::vector<ParameterSpec>& specs, const Parameters& parameters,
                               const Optimizer& optimizer);

// The texts beside them.
void add_texts(const Config& config, const TrainState& state, const Tokenizer& tokenizer, CheckpointContent& content);

}  // namespace hadal
