// The data of a run. A run that has begun is trained on the shards and with the tokenizer that it has, whatever became
// of what they were made from; only text that is the same mends them.
#pragma once
#include "base/exec.h"
#include "config/config.h"
#include "data/prepare.h"

namespace hadal {

bool has_begun(const Config& config);  // config.run holds the configuration of a run

// As data::prepare(), whose errors it throws. Of a run that has begun: options.on_change must be keep or look; the
// tokenizer and the plan are the run's. text_named: the user says where the text lies now, so it must be the same text.
data::Prepared prepare_run_data(Config config, const Exec& exec, data::PrepareOptions options, bool text_named);

}  // namespace hadal
