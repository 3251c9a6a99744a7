// A model from a directory: configuration and weights, ready to score and generate.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "model/transformer.h"

namespace hadal {

struct LoadOptions {
  std::string precision;       // fp64, fp32, bf16 or empty: as the model was trained (fp32 where that is unknown)
  std::string attention_form;  // empty: as the model was trained
  bool ema = false;            // the moving average of the weights instead of the weights, where the run kept one
  bool training = false;       // with gradients
};

struct LoadedModel {
  std::filesystem::path directory;  // of the files that were read
  std::unique_ptr<Transformer> transformer;
};

// `directory` as in locate_model(). Checks the manifest of a checkpoint. Throws not_found, corrupt, invalid.
LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options, const Exec& exec);

}  // namespace hadal
