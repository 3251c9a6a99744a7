// hadal eval --record: results of an evaluation, kept in the run of the model (train/evaluation_record.h).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "eval/evaluate.h"

namespace hadal {

// The run that `--model` names, of a run with phases that of the phase. Throws invalid where the model is no run.
std::filesystem::path run_of_record(const std::string& model);

void record_in_run(const std::string& model, const std::vector<eval::TaskResult>& results, const eval::Json& about);

}  // namespace hadal
