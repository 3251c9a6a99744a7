// Creating, locking and reconciling run directories.
#include "train/run_directory.h"

#include "base/error.h"
#include "config/config_io.h"

namespace hadal {

namespace {

bool may_change(const std::string& difference) {
  for (const char* prefix : {"run:", "train.steps:", "checkpoint.", "validation.", "data.cache:"}) {
    if (difference.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

}  // namespace

RunDirectory::RunDirectory(const std::filesystem::path& root) : root_(root) {
  make_directories(root_);
  lock_ = FileLock(root_ / "lock", "run directory");
}

bool RunDirectory::has_config() const { return std::filesystem::exists(config()); }

Config RunDirectory::reconcile(const Config& asked) const {
  if (!has_config()) return asked;
  const Config stored = load_config(config().string());
  Config merged = asked;
  if (merged.train.precision == Precision::automatic) merged.train.precision = stored.train.precision;
  if (merged.train.micro_batch_sequences == 0) merged.train.micro_batch_sequences = stored.train.micro_batch_sequences;
  if (merged.model.vocab_size == 0) merged.model.vocab_size = stored.model.vocab_size;
  std::string refused;
  for (const auto& difference : config_differences(stored, merged)) {
    if (!may_change(difference)) refused += (refused.empty() ? "" : "; ") + difference;
  }
  check(refused.empty(), ErrorKind::invalid,
        "{}: this run was started with another configuration ({}); use another run directory, or --fresh to start over",
        root_.string(), refused);
  return merged;
}

void RunDirectory::store(const Config& resolved) const { atomic_write(config(), config_to_toml(resolved)); }

}  // namespace hadal
