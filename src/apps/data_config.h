// What `hadal data build` and `explain` are asked about: one configuration or run, or phases of one that has several
// (config/phases.h). Private to the verb.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/run_config.h"

namespace hadal {

struct AskedText {
  std::string name, kind;       // of the phase; both empty where there are none
  Config config;                // as training has it, with the run's directory
  std::optional<Config> first;  // of the phase whose text makes config.tokenizer.path, where that is to be built before
};

// `path`: a configuration file, a run directory or RUN:NAME. With phases all of them in their order, or `phase` alone.
// The tokenizer of all is the first one's: of its run once that has begun, before that of its tokenised text. Throws
// what read_run_config and read_phased_config throw; invalid for a phase that there is not, or where there are none.
std::vector<AskedText> asked_texts(const std::string& path, const RunArguments& arguments, const std::string& phase);

// Of several the one that a user most likely means: the last phase that has begun, else the first.
const AskedText& likeliest(const std::vector<AskedText>& all);

}  // namespace hadal
