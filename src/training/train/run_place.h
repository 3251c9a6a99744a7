// Where a run may lie: in a directory of its own, not in a model's and not inside of what another run keeps.
#pragma once
#include <filesystem>
#include <optional>

#include "config/config.h"

namespace hadal {

// The directory is a run's: a trainer locked it, and its config.toml, if it has one, is Hadal's.
bool is_run(const std::filesystem::path& directory);

// The run that keeps `place` in its checkpoints/, data/, tokenizer/ or text/, or as one of these; nothing: none does.
std::optional<std::filesystem::path> run_around(const std::filesystem::path& place);

// Before anything is written: throws invalid where `run` is a checkpoint or another model's directory, or lies inside
// of a run; the message says how to go on with that run, or from those weights.
void check_run_place(const std::filesystem::path& run);

// The same of config's cache of tokenised text, which may be another run's data/, but none of its other files.
void check_cache_place(const Config& config);

}  // namespace hadal
