// Finds what a run knows of its data, and opens them.
#include "train/run_data.h"

#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "train/run_directory.h"
#include "train/train_state.h"

namespace hadal {

namespace fs = std::filesystem;

bool has_begun(const Config& config) { return fs::exists(fs::path(config.run) / "config.toml"); }

namespace {

// What decides the tokens of a run's text; it does not change in the life of the run.
void check_same_settings(const Config& stored, Config asked) {
  const auto decides = [](const std::string& difference) {
    for (const char* key : {"data.holdout", "tokenizer.vocab_size", "tokenizer.training_bytes", "tokenizer.path"})
      if (difference.starts_with(key)) return true;
    return difference.starts_with("data.sources") && difference.find("text_field") != std::string::npos;
  };
  const bool trained = stored.tokenizer.path.empty();
  if (trained == asked.tokenizer.path.empty()) asked.tokenizer.path = stored.tokenizer.path;  // only where it lies
  if (!trained)
    asked.tokenizer.vocab_size = stored.tokenizer.vocab_size,
    asked.tokenizer.training_bytes = stored.tokenizer.training_bytes;
  std::string list;
  for (const auto& difference : config_differences(stored, asked))
    if (decides(difference)) list += (list.empty() ? "" : "; ") + difference;
  check(
      list.empty(), ErrorKind::invalid,
      "{}: the text of this run was tokenised with other settings. {}: this cannot change in the life of a run; leave "
      "it out, or start a new run from these weights (--model {} --run NEW)",
      asked.run, list, asked.run);
}

}  // namespace

data::Prepared prepare_run_data(Config config, const Exec& exec, data::PrepareOptions options, bool text_named) {
  if (!has_begun(config)) return data::prepare(config, exec, options);
  const fs::path run = config.run, index = data::cache_directory(config) / "shards" / "index.json";
  const Config stored = with_absolute_paths(load_config((run / "config.toml").string()));
  keep_source_names(stored.data, config.data);
  check_same_settings(stored, config);
  options.tokenizer = (run / "tokenizer").string();
  const auto checkpoints = list_checkpoints(run / "checkpoints");
  if (!checkpoints.empty()) options.plan = TrainState::load(checkpoints.back()).cursor.plan;
  if (text_named && fs::exists(index)) data::check_same_text(config, data::read_index(index.parent_path()));
  return data::prepare(config, exec, options);
}

}  // namespace hadal
