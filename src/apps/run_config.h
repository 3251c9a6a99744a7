// The configuration of the verbs that take one: a TOML file or a run directory, then --text, then --set.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace hadal {

// Checked. config.run is the run directory itself, else what the file says, else runs/NAME of the file.
Config read_run_config(const std::string& path, const std::vector<std::string>& text,
                       const std::vector<std::string>& overrides);

}  // namespace hadal
