#include "train/start_model.h"

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "train/run_checkpoint.h"
#include "train/train_state.h"

namespace hadal {

std::unique_ptr<ModelDirectory> open_start_model(const Config& config, FileCheck file_check) {
  if (config.train.start_model.empty()) return nullptr;
  auto start = std::make_unique<ModelDirectory>(open_model(config.train.start_model, file_check));
  Config asked, theirs;
  asked.model = config.model;
  theirs.model = start->config.model;
  asked.model.init_std = theirs.model.init_std;
  if (config.train.start_extends)
    asked.model.yarn = theirs.model.yarn, asked.model.max_positions = theirs.model.max_positions;
  const auto differences = config_differences(theirs, asked);
  check(differences.empty(), ErrorKind::invalid,
        "train.start_model = \"{}\" holds another model than the configuration ({})", config.train.start_model,
        differences.empty() ? "" : differences.front());
  return start;
}

void load_start_masters(const Config& config, const ModelDirectory& start, const Exec& exec,
                        const Parameters& parameters) {
  load_masters(start, exec, parameters);
  if (config.train.start_average) load_average_masters(start.directory, exec, parameters);
}

void load_start_moments(const Config& config, const ModelDirectory& start, const Exec& exec, Optimizer& optimizer) {
  if (!config.train.start_moments) return;
  check(tensor_file_in(start.directory, kOptimizerStem).has_value(), ErrorKind::not_found,
        "train.start_moments: {} keeps no moments; start from a checkpoint of a run, or leave it out",
        start.directory.string());
  verify_checkpoint(start.directory, CheckpointPart::optimizer);  // opening left it out
  load_moments(exec, start.directory, optimizer);
  optimizer.set_steps_done(TrainState::load(start.directory).updates);
}

}  // namespace hadal
