// What the configuration of a run wants to be asked when it has ended ([evaluation]), kept as `hadal eval --record`
// keeps it.
#pragma once
#include <string>

#include "base/exec.h"
#include "config/config.h"

namespace hadal {

// Throws invalid for a task that is unknown, or a task file that is wrong; `files`: also for one of the user's files
// that is not there. `where` stands in front: "life.toml: phase 'chat'".
void check_evaluations(const EvaluationConfig& evaluation, bool files, const std::string& where);

// Asks the run's last checkpoint for what the run does not keep yet: a result stands when it is of this checkpoint and
// was asked for with the same settings. One that was interrupted is asked for again, from its beginning.
void evaluate_run(const Config& config, const Exec& exec, bool quiet);

}  // namespace hadal
