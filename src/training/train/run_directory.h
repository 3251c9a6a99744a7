// A run directory: everything of one training run.
//   RUN/config.toml     the resolved configuration (auto values replaced by what was chosen)
//   RUN/lock            held by the trainer
//   RUN/log.txt         what the screen said
//   RUN/logs/           of several ranks one file each: starts, ends, failures (rank_log.h)
//   RUN/metrics.jsonl   one object per step, validation and sample (metrics.h)
//   RUN/tokenizer/      tokenizer.json, tokenizer_config.json
//   RUN/data/           tokenised shards (unless data.cache says otherwise)
//   RUN/checkpoints/    step_N directories (checkpoint/checkpoint.h)
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "config/config.h"

namespace hadal {

// Where things lie in a run directory; writes nothing, takes no lock.
class RunDirectoryView {
 public:
  explicit RunDirectoryView(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path config() const { return root_ / "config.toml"; }
  std::filesystem::path log() const { return root_ / "log.txt"; }
  std::filesystem::path logs() const { return root_ / "logs"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  std::filesystem::path tokenizer() const { return root_ / "tokenizer"; }
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  bool has_config() const;

 private:
  std::filesystem::path root_;
};

class RunDirectory : public RunDirectoryView {
 public:
  // Creates the directory if need be, and takes the lock: a second trainer is refused with the first one's process id.
  // Throws invalid where no run may lie (run_place.h).
  explicit RunDirectory(const std::filesystem::path& root);

  // `asked`, fit to go on with what the directory holds; without a stored configuration `asked` itself, of which no
  // `changes` may then be asked for. Values that were chosen automatically (0 or "auto" in `asked`) are the stored
  // ones, the model that the run started from is the one that it was, and sources keep their names. What else differs
  // - may if it leaves the bits as they are, only reacts, or says where things lie (paths of text: the caller compares
  //   its hashes, see text_moved);
  // - may, if `changes` names its key, where it changes the mathematics of the steps to come;
  // - is refused otherwise (invalid), with the ways that there are, those that lose no work first.
  struct Reconciled {
    Config config;
    std::vector<std::string> differences;  // "optim.lr: 0.003 -> 0.001", for the record
    bool text_moved = false;               // paths of sources are others than before
  };
  Reconciled reconcile(const Config& asked, const std::vector<std::string>& changes = {}) const;
  void store(const Config& resolved) const;  // and tells a cache that may be shared who uses it

 private:
  FileLock lock_;
};

// Sources of `asked` get the names that those of `stored` have: shards know them by these, wherever the text lies now.
void keep_source_names(const DataConfig& stored, DataConfig& asked);

// `config` with paths of text, tokenizer and cache that mean the same in every working directory.
Config with_absolute_paths(Config config);

}  // namespace hadal
