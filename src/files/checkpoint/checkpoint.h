// Checkpoints of a training run. RUN/checkpoints/step_00000200/ holds
//   model.safetensors      master weights under Hugging Face names (stacked experts one by one), F32 (F64 in fp64)
//   optimizer.safetensors  moments and EMA under our names ("m.layers.0.ffn.up")
//                          each in shards with an index where it would pass 5 GB (storage/shards.h)
//   model.json             ModelConfig under our field names
//   config.toml            the run's whole configuration
//   state.json             step, data cursor, counters: what a resumed run needs to continue bit for bit
//   tokenizer.json, tokenizer_config.json, and what else the tokenizer came with, chat templates in files included
//   manifest.json          {"format": "hadal-checkpoint-1", "step": n, "files": {name: {"bytes": n, "xxh3": hex}}}
//                          (XXH3, 128 bits; "sha256" in older ones)
// A checkpoint is written into step_N.partial, synced, then renamed (checkpoint_writer.h): a directory without .partial
// is complete. Its files do not tell by how many ranks they were written. Loading checks every byte that it reads
// against the manifest; a truncated or flipped file is an Error that names it, never a silent fall-back. A checkpoint
// of the same step is moved aside before the new one takes its name, so that one of the two always stands whole.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "nn/parameter.h"
#include "storage/tensor_files.h"

namespace hadal {

constexpr const char* kCheckpointFormat = "hadal-checkpoint-1";
constexpr const char* kOptimizerStem = "optimizer";  // beside kModelStem
std::filesystem::path checkpoint_path(const std::filesystem::path& checkpoints, int64_t step);

// Tensors of the parameters' master weights under Hugging Face names; experts are slices of the stacked tensor.
std::vector<NamedTensor> model_tensors(const Parameters& parameters);
// The same of gradients, rows of Llama's q and k in Hugging Face's order too (row_of_half_split), so that they compare;
// the router's bias, which has none, is not among them.
std::vector<NamedTensor> gradient_tensors(const Parameters& parameters);
// Fills masters, or the boxes of them that this rank holds, from tensors of such names. Missing, surplus or misshapen
// ones are errors that name them.
void load_model_tensors(const TensorFiles& files, const std::vector<ParameterSpec>& specs,
                        const Parameters& parameters);

// Checks files against the manifest: all, those that a model needs, or the optimizer's, which are none of these; throws
// corrupt, naming file and reason.
enum class CheckpointPart { all, model, optimizer };
void verify_checkpoint(const std::filesystem::path& checkpoint, CheckpointPart part = CheckpointPart::all);
// The same without reading what is in the files.
void verify_checkpoint_sizes(const std::filesystem::path& checkpoint, CheckpointPart part = CheckpointPart::all);
std::vector<std::filesystem::path> list_checkpoints(
    const std::filesystem::path& checkpoints);                                        // complete ones, oldest first
void remove_old_checkpoints(const std::filesystem::path& checkpoints, int64_t keep);  // and leftovers *.partial

// Where a model's files lie: `--model DIR` is a run directory (its last checkpoint; of a run with phases that of the
// last finished one, or RUN:NAME), a checkpoint, an exported directory or a Hugging Face directory.
struct ModelLocation {
  std::filesystem::path directory;  // with safetensors and model.json or config.json
  bool is_checkpoint = false;       // has a manifest
  bool hugging_face = false;        // config.json and safetensors, no model.json
};
ModelLocation locate_model(const std::filesystem::path& directory);  // not_found says what was looked for

}  // namespace hadal
