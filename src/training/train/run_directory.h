// A run directory: everything of one training run.
//   RUN/config.toml     the resolved configuration (auto values replaced by what was chosen)
//   RUN/lock            held by the trainer
//   RUN/log.txt         what the screen said
//   RUN/metrics.jsonl   one object per step, validation and sample (metrics.h)
//   RUN/tokenizer/      tokenizer.json, tokenizer_config.json
//   RUN/data/           tokenised shards (unless data.cache says otherwise)
//   RUN/checkpoints/    step_N directories (checkpoint/checkpoint.h)
#pragma once
#include <filesystem>
#include <string>

#include "base/files.h"
#include "config/config.h"

namespace hadal {

class RunDirectory {
 public:
  // Creates the directory if need be, and takes the lock: a second trainer is refused with the first one's process id.
  explicit RunDirectory(const std::filesystem::path& root);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path config() const { return root_ / "config.toml"; }
  std::filesystem::path log() const { return root_ / "log.txt"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  std::filesystem::path tokenizer() const { return root_ / "tokenizer"; }
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  bool has_config() const;

  // The stored configuration if there is one, checked against what is asked now: values that were chosen automatically
  // (0 or "auto" in `asked`) are taken from it; any other difference is refused, naming the keys, except keys that may
  // change in the life of a run (run, train.steps, checkpoint.*, validation.*, data.cache). Else `asked` itself.
  Config reconcile(const Config& asked) const;
  void store(const Config& resolved) const;

 private:
  std::filesystem::path root_;
  FileLock lock_;
};

}  // namespace hadal
