// RUN/phases.json: what a run with phases has been through, the record that `--model RUN` is resolved by.
//   {"format": "hadal-phases-1", "phases": [{"name", "kind", "from", "steps", "tokens", "bits_per_byte", "checkpoint",
//    "model", "parent", "data"}, ...]}          finished phases alone, in the order in which they ended
// A control, which stands beside the main line (config/phases.h), has "control_of" as well.
// Each phase is a run of its own, RUN/NAME. "model" is the hash (xxh3) of its last checkpoint's manifest, "parent" that
// of the one that it started from, "data" the plan of the shards that it was trained on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hadal {

constexpr const char* kPhasesFile = "phases.toml";  // RUN/phases.toml: the configuration of a run with phases

struct PhaseRecord {
  std::string name, kind, from, control_of;
  int64_t steps = 0, tokens = 0;
  double bits_per_byte = 0;  // of its last validation; 0: there was none
  std::string checkpoint;    // name of its directory
  std::string model, parent, data;
};

nlohmann::ordered_json record_json(const PhaseRecord& record);  // as it stands in the file
// "extend", or "extend, control of NAME".
std::string kind_in_words(const std::string& kind, const std::string& control_of);
bool has_phase_records(const std::filesystem::path& run);
std::vector<PhaseRecord> read_phase_records(const std::filesystem::path& run);  // none: nothing ended yet
void write_phase_records(const std::filesystem::path& run, const std::vector<PhaseRecord>& records);
std::string manifest_hash(const std::filesystem::path& checkpoint);  // 32 digits

// What `--model` may say of a run with phases: "RUN" is the run of the last finished phase of its main line, "RUN:NAME"
// that of phase NAME, finished or not. Nothing: it is no such run. Throws not_found where no phase has ended, or none
// is called so.
std::optional<std::filesystem::path> phase_run(const std::filesystem::path& named);

}  // namespace hadal
