// Checkpoints of a training run. RUN/checkpoints/step_00000200/ holds
//   model.safetensors      master weights under Hugging Face names (stacked experts one by one), F32 (F64 in fp64)
//   optimizer.safetensors  moments and EMA under our names ("m.layers.0.ffn.up")
//   model.json             ModelConfig under our field names
//   config.toml            the run's whole configuration
//   state.json             step, data cursor, counters: what a resumed run needs to continue bit for bit
//   tokenizer.json, tokenizer_config.json, and what else the tokenizer came with, chat templates in files included
//   manifest.json          {"format": "hadal-checkpoint-1", "step": n, "files": {name: {"bytes": n, "xxh3": hex}}}
//                          (XXH3, 128 bits; "sha256" in older ones)
// A checkpoint is written into step_N.partial, synced, then renamed: a directory without .partial is complete. Loading
// checks every byte that it reads against the manifest; a truncated or flipped file is an Error that names it, never a
// silent fall-back. A checkpoint of the same step is moved aside before the new one takes its name, so that one of the
// two always stands whole.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "config/model_config.h"
#include "nn/parameter.h"
#include "storage/safetensors.h"

namespace hadal {

struct CheckpointContent {
  int64_t step = 0;
  std::vector<NamedTensor> model;  // under Hugging Face names; views of the run's tensors
  std::vector<NamedTensor> optimizer;
  std::map<std::string, std::string> texts;  // file name -> content: model.json, state.json, tokenizer files ...
};

// Tensors of the parameters' master weights under Hugging Face names; experts are slices of the stacked tensor.
std::vector<NamedTensor> model_tensors(const Parameters& parameters);
// The same of whole masters brought together from ranks, one for each of the model's parameters.
std::vector<NamedTensor> model_tensors(const std::vector<ParameterSpec>& specs, const std::vector<Tensor>& masters);
// The same of gradients; the router's bias, which has none, is not among them.
std::vector<NamedTensor> gradient_tensors(const Parameters& parameters);
// Fills masters, or the boxes of them that this rank holds, from a model.safetensors with such names. Missing, surplus
// or misshapen tensors are errors that name them.
void load_model_tensors(const std::filesystem::path& file, const std::vector<ParameterSpec>& specs,
                        const Parameters& parameters);

void write_checkpoint(const std::filesystem::path& checkpoints,
                      const CheckpointContent& content);  // now, complete or absent
// Checks files against the manifest: all, those that a model needs, or the optimizer's, which is none of these; throws
// corrupt, naming file and reason.
enum class CheckpointPart { all, model, optimizer };
void verify_checkpoint(const std::filesystem::path& checkpoint, CheckpointPart part = CheckpointPart::all);
void verify_checkpoint_sizes(const std::filesystem::path& checkpoint);  // the same without reading what is in the files
std::vector<std::filesystem::path> list_checkpoints(
    const std::filesystem::path& checkpoints);                                        // complete ones, oldest first
void remove_old_checkpoints(const std::filesystem::path& checkpoints, int64_t keep);  // and leftovers *.partial

struct CheckpointWriterOptions {
  int64_t keep = 1;
  bool asynchronous = true;
  bool wait_for_room = false;                   // where the disk is full, until there is room or stop() says so
  std::function<bool()> stop;                   // asked while waiting; may be empty
  std::function<void(const std::string&)> say;  // told when waiting begins and ends, from the writing thread; or empty
};

// Writes in the background from copies taken in save(); one at a time. An error of the writer is thrown by the next
// save() or by finish(). The copies cost as much memory as the state itself while a checkpoint is being written.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path checkpoints, CheckpointWriterOptions options);
  ~CheckpointWriter();
  void save(const Exec& exec, const CheckpointContent& content);  // exec: where the copies lie
  void finish();                                                  // waits; throws what the writer threw

 private:
  void write(const CheckpointContent& content) const;
  std::filesystem::path checkpoints_;
  CheckpointWriterOptions options_;
  std::thread thread_;
  std::atomic<bool> leaving_ = false;  // nobody waits for room any more
  std::exception_ptr error_;           // written by thread_, read after it was joined
};

// Where a model's files lie: `--model DIR` is a run directory (its last checkpoint), a checkpoint, an exported
// directory or a Hugging Face directory.
struct ModelLocation {
  std::filesystem::path directory;  // with model.safetensors and model.json, or config.json and safetensors
  bool is_checkpoint = false;       // has a manifest
  bool hugging_face = false;        // config.json and safetensors, no model.json
};
ModelLocation locate_model(const std::filesystem::path& directory);  // not_found says what was looked for

}  // namespace hadal
