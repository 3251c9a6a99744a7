// The configuration of the verbs that take one: a TOML file or a run directory, then --text, then --set.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"
#include "config/phases.h"

namespace hadal {

// What stands on the command line beside the configuration file.
struct RunArguments {
  std::vector<std::string> text;         // replaces data.sources
  std::vector<std::string> set;          // key=value
  std::string run = {};                  // run directory
  std::string model = {};                // directory whose weights training starts from
  bool fresh = false;                    // what the run directory holds will be deleted
  std::vector<std::string> change = {};  // key=value, last: what a run that began may change when it is asked for
};

// Checked. config.run is the run directory itself, else as given, else what the file says, else runs/NAME of the file.
// With a model to start from, the model section is that of its directory (a section that says otherwise is refused),
// and so is the tokenizer unless tokenizer.path names another; a run that started from it has both and needs the
// directory no more. `named`: a file, a run directory, or of a run with phases what --model says of it (RUN:NAME).
Config read_run_config(const std::string& named, const RunArguments& arguments);

// --text: replaces data.sources by these, each a source of its own; standard input is refused. None: as it is.
void take_text(Config& config, const std::vector<std::string>& text);
// Where a run of this configuration file lies unless it is told: runs/NAME of the file.
std::string default_run(const std::string& path);

// Whether `path` is a configuration with phases, or the directory of a run that goes through some (config/phases.h).
bool is_phased(const std::string& path);
// The same of such a one; --text, --set and --model are common to all phases, and base.run is the run's directory. What
// --change says is the first unfinished phase's, so it is the walk's to take it.
PhasedConfig read_phased_config(const std::string& path, const RunArguments& arguments,
                                std::span<const PhaseKind> kinds);

}  // namespace hadal
