// train.start_model: the model whose weights a new run starts from.
#pragma once
#include <memory>

#include "config/config.h"
#include "exchange/model_directory.h"

namespace hadal {

// Opened and checked whole against the configuration; null when a run starts from newly drawn weights.
std::unique_ptr<ModelDirectory> open_start_model(const Config& config);

}  // namespace hadal
