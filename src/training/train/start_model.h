// train.start_model: the model whose weights a new run starts from.
#pragma once
#include <memory>

#include "config/config.h"
#include "exchange/model_directory.h"
#include "optim/optimizer.h"

namespace hadal {

// Opened and checked whole against the configuration, by ranks after the first one the files by their sizes alone; null
// when a run starts from newly drawn weights.
std::unique_ptr<ModelDirectory> open_start_model(const Config& config, FileCheck file_check);

// Masters of this rank's boxes from it: its weights, or with train.start_average the moving average that it keeps (the
// router's bias is never averaged and comes with the weights).
void load_start_masters(const Config& config, const ModelDirectory& start, const Exec& exec,
                        const Parameters& parameters);

// With train.start_moments: its moments and its moving average, and how many steps they have seen (Adam's correction
// goes on from there). Throws not_found where it keeps none.
void load_start_moments(const Config& config, const ModelDirectory& start, const Exec& exec, Optimizer& optimizer);

}  // namespace hadal
