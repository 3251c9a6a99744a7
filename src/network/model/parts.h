// ModelParts: the layers of a model, wired to its parameters by name. A pipeline stage will hold a part of these.
#pragma once
#include <functional>
#include <string>

#include "model/mtp.h"
#include "nn/embedding.h"
#include "nn/head_loss.h"

namespace hadal {

struct ModelParts {
  Embedding embedding;
  std::vector<Block> layers;
  Norm final_norm;
  HeadLoss head;
  std::vector<MtpModule> mtp;
};

// `find` gives the parameter of a name of parameter_list(), and fails on names that are not there. Each linear gets its
// entry of the recipe.
ModelParts wire_model(const ModelConfig& config, const std::function<Parameter*(const std::string&)>& find,
                      const Recipe& recipe = {});

// Rotary table [n_positions, rope dim]: cos_0, sin_0, cos_1, sin_1 ... times the YaRN multiplier (§1.4), computed in
// FP64.
Tensor rope_table(const Exec& exec, const ModelConfig& config, DType dtype, int64_t n_positions);

}  // namespace hadal
