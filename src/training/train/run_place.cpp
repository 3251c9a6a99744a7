#include "train/run_place.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "data/prepare.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

constexpr const char* kKept[] = {"checkpoints", "data", "tokenizer", "text"};

fs::path whole(const fs::path& path) {
  const fs::path found = fs::weakly_canonical(fs::absolute(path));
  return found.has_filename() ? found : found.parent_path();  // without the slash at its end
}

// A run that was copied without its lock is one too.
bool seems_run(const fs::path& directory) {
  return is_run(directory) ||
         (fs::is_directory(directory / "checkpoints") && fs::is_regular_file(directory / "config.toml"));
}

}  // namespace

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

std::optional<fs::path> run_around(const fs::path& place) {
  for (fs::path at = whole(place); at.has_relative_path(); at = at.parent_path()) {
    const bool kept = std::find(std::begin(kKept), std::end(kKept), at.filename()) != std::end(kKept);
    if (kept && seems_run(at.parent_path())) return at.parent_path();
  }
  return std::nullopt;
}

void check_run_place(const fs::path& run) {
  const auto around = run_around(run);
  const auto weights = tensor_file_in(run, kModelStem);
  check(!around || !weights, ErrorKind::invalid,
        "{} is a checkpoint of the run {}; go on with 'hadal train {}', or start a new run from it: hadal train CONFIG "
        "--model {} --run NEW",
        run.string(), around.value_or("").string(), around.value_or("").string(), run.string());
  check(!weights, ErrorKind::invalid,
        "{} holds a model ({}), not a run; start a new run from its weights: hadal train CONFIG --model {} --run NEW",
        run.string(), weights.value_or("").filename().string(), run.string());
  check(!around, ErrorKind::invalid,
        "{} lies in what the run {} keeps; name a directory outside of it for a run: --run NEW", run.string(),
        around.value_or("").string());
}

void check_cache_place(const Config& config) {
  if (config.data.cache.empty()) return;
  const fs::path cache = whole(config.data.cache);
  if (cache == whole(config.run)) return;
  const auto around = run_around(cache);
  const bool its_data = around && cache == *around / "data";
  check((!around || its_data) && !seems_run(cache), ErrorKind::invalid,
        "data.cache = \"{}\" lies in the run {}, whose files it would replace; name another directory, or {} to share "
        "its tokenised text",
        config.data.cache, around.value_or(cache).string(), (around.value_or(cache) / "data").string());
  const auto weights = tensor_file_in(cache, kModelStem);
  check(!weights, ErrorKind::invalid, "data.cache = \"{}\" holds a model ({}); name another directory",
        config.data.cache, weights.value_or("").filename().string());
}

}  // namespace hadal
