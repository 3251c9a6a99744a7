// --fresh: clearing a run directory, and nothing else.
#pragma once
#include <filesystem>

namespace hadal {

// Deletes what a run wrote, and only in a directory that a trainer locked and whose config.toml, if any, is ours (or
// that is empty, or absent). Throws invalid elsewhere: other programs have a config.toml and a data/ too.
void remove_run(const std::filesystem::path& run);

}  // namespace hadal
