#include "train/start_model.h"

#include "base/error.h"
#include "config/config_io.h"

namespace hadal {

std::unique_ptr<ModelDirectory> open_start_model(const Config& config) {
  if (config.train.start_model.empty()) return nullptr;
  auto start = std::make_unique<ModelDirectory>(open_model(config.train.start_model));
  Config asked, theirs;
  asked.model = config.model;
  theirs.model = start->config.model;
  asked.model.init_std = theirs.model.init_std;
  const auto differences = config_differences(theirs, asked);
  check(differences.empty(), ErrorKind::invalid,
        "train.start_model = \"{}\" holds another model than the configuration ({})", config.train.start_model,
        differences.empty() ? "" : differences.front());
  return start;
}

}  // namespace hadal
