#include "apps/remove_run.h"

#include "base/error.h"
#include "base/files.h"
#include "config/config_io.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

bool is_run(const fs::path& directory) {
  const auto lock = directory / "lock", config = directory / "config.toml";
  if (!fs::is_regular_file(lock)) return false;
  const auto holder = read_file(lock);
  if (holder.find_first_not_of("0123456789\n") != std::string::npos) return false;
  if (!fs::exists(config)) return !holder.empty();  // stopped before it had a configuration
  try {
    load_config(config.string());
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

void remove_run(const fs::path& run) {
  if (!fs::exists(run)) return;
  check(fs::is_directory(run) && (fs::is_empty(run) || is_run(run)), ErrorKind::invalid,
        "{}: not a run directory (no lock of a trainer and no configuration of Hadal in it); --fresh deletes only runs",
        run.string());
  const FileLock lock(run / "lock", "run directory");  // a trainer that is at work keeps its files
  for (const char* name :
       {"checkpoints", "data", "tokenizer", "text", "config.toml", "metrics.jsonl", "log.txt", "report.html"}) {
    std::error_code error;
    fs::remove_all(run / name, error);
    check(!error, ErrorKind::io, "{}: cannot be deleted: {}", (run / name).string(), error.message());
  }
}

}  // namespace hadal
