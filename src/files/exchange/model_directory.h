// ModelDirectory: a directory that `--model` may name, opened and checked: a run (its last checkpoint), a checkpoint or
// model of ours (model.json, model.safetensors), or a Hugging Face directory (config.json with safetensors, one file or
// shards). All say the same things here, so that no verb knows which kind it reads.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exchange/hf_config.h"
#include "exchange/hf_weights.h"
#include "model/options.h"
#include "nn/parameter.h"

namespace hadal {

struct ModelDirectory {
  std::filesystem::path directory;  // of the files
  bool hugging_face = false;
  HfConfig config;                        // of our own files: `model` and what their config.toml says of nothing else
  std::vector<ParameterSpec> parameters;  // of config.model
  Precision precision = Precision::fp32;  // as trained, else as stored
  std::optional<AttentionForm> attention_form;  // as trained, where that is known
  Fp8Config fp8;                                // likewise
  bool averages = false;  // the weights are the moving averages that a run kept: see averages_of()
  std::shared_ptr<const TensorFiles> files;
  std::shared_ptr<const HfWeights> weights;

  std::vector<std::string> notices() const;  // of configuration and weights, one sentence each
};

// `path` as in locate_model(). A checkpoint's hashes are verified, or its sizes alone. Every tensor is mapped to its
// parameter, or refused.
ModelDirectory open_model(const std::filesystem::path& path, FileCheck file_check = FileCheck::contents);
// The configuration alone: no tensor is looked at, but n_mtp is what the files hold.
ModelConfig read_model_config(const std::filesystem::path& path);

struct LoadCounts {
  int64_t mapped_bytes = 0;  // used where the file lies in memory
  int64_t packed_bytes = 0;  // copied, converted, stacked or rounded into memory of our own
};

// Fills the masters (and values of the same memory) of parameters that have memory; call refresh_values() afterwards.
// Of each its box alone is read, and nothing else takes memory: ranks share out the files as they share out the model.
void load_masters(const ModelDirectory& from, const Exec& exec, const Parameters& parameters);
// The moving averages of the weights that a run kept, instead, in the values where masters are shared out among ranks;
// throws not_found where there are none. The second takes tensors of whole parameters to wherever they shall go.
void load_average_masters(const std::filesystem::path& directory, const Exec& exec, const Parameters& parameters);
void read_averages(const std::filesystem::path& directory, const Parameters& parameters,
                   const std::function<void(Parameter&, const Tensor&)>& take);
// The same directory with these averages for its weights, for whoever reads tensors themselves; throws as above.
ModelDirectory averages_of(const ModelDirectory& from);
// Gives bare parameters (ModelOptions::bare) the value that a model of these options (precision, weights, form) reads:
// panels where the format of weights says so (model/weight_format.h), made of one parameter after another; else a view
// of the mapped file where it is stored whole and in the type that is computed in, else memory of its own. No masters.
// What computes with views ends with files->check_intact(). Refused before anything is allocated when what is no view
// exceeds the memory available.
LoadCounts load_values(const ModelDirectory& from, const Exec& exec, const Parameters& parameters,
                       const ModelOptions& options);

}  // namespace hadal
