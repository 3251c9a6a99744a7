// What of a run's checkpoint each rank writes, and reads again.
#pragma once
#include <filesystem>

#include "checkpoint/checkpoint_writer.h"
#include "config/config.h"
#include "optim/optimizer.h"
#include "text/tokenizer.h"
#include "train/train_state.h"

namespace hadal {

// Fills the moments that this rank keeps.
void load_moments(const Exec& exec, const std::filesystem::path& checkpoint, const Optimizer& optimizer);

DType wide_dtype(const Parameters& held);  // of masters, gradients and averages, where one is trained

// What this rank updates of a parameter that it holds, or alone looks after where nothing updates it: between all ranks
// every element once.
OwnedRange owned_by(const Optimizer& optimizer, Parameter& parameter);

// Moments and averages of a model with these parameters in all, and which of them this rank writes.
TensorFile optimizer_file(const std::vector<ParameterSpec>& specs, const Parameters& held, const Optimizer& optimizer);
// The same and masters; no texts.
CheckpointContent checkpoint_content(const std::vector<ParameterSpec>& specs, const Parameters& held,
                                     const Optimizer& optimizer);

CheckpointWriterOptions writer_options(const CheckpointConfig& config);  // that stop where the program does

// The texts beside them.
std::map<std::string, std::string> checkpoint_texts(const Config& config, const TrainState& state,
                                                    const Tokenizer& tokenizer);

}  // namespace hadal
