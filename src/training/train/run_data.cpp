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

data::Prepared prepare_run_data(Config config, const Exec& exec, data::PrepareOptions options, bool text_named) {
  if (!has_begun(config)) return data::prepare(config, exec, options);
  const fs::path run = config.run, index = data::cache_directory(config) / "shards" / "index.json";
  keep_source_names(load_config((run / "config.toml").string()).data, config.data);
  options.tokenizer = (run / "tokenizer").string();
  const auto checkpoints = list_checkpoints(run / "checkpoints");
  if (!checkpoints.empty()) options.plan = TrainState::load(checkpoints.back()).cursor.plan;
  if (text_named && fs::exists(index)) data::check_same_text(config, data::read_index(index.parent_path()));
  return data::prepare(config, exec, options);
}

}  // namespace hadal
