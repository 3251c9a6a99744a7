// The record of finished phases.
#include "checkpoint/phase_record.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "hadal-phases-1";
fs::path file_of(const fs::path& run) { return run / "phases.json"; }

PhaseRecord record_of(const ordered_json& json) {
  return {json.at("name"),  json.at("kind"),   json.at("from"),          json.value("control_of", ""),
          json.at("steps"), json.at("tokens"), json.at("bits_per_byte"), json.at("checkpoint"),
          json.at("model"), json.at("parent"), json.at("data")};
}

}  // namespace

ordered_json record_json(const PhaseRecord& r) {
  ordered_json json{{"name", r.name}, {"kind", r.kind}, {"from", r.from}};
  if (!r.control_of.empty()) json["control_of"] = r.control_of;
  json.update({{"steps", r.steps},
               {"tokens", r.tokens},
               {"bits_per_byte", r.bits_per_byte},
               {"checkpoint", r.checkpoint},
               {"model", r.model},
               {"parent", r.parent},
               {"data", r.data}});
  return json;
}

std::string kind_in_words(const std::string& kind, const std::string& control_of) {
  return control_of.empty() ? kind : kind + ", control of " + control_of;
}

bool has_phase_records(const fs::path& run) { return fs::is_regular_file(file_of(run)); }

std::vector<PhaseRecord> read_phase_records(const fs::path& run) {
  std::vector<PhaseRecord> records;
  if (!has_phase_records(run)) return records;
  try {
    const auto json = read_json<ordered_json>(file_of(run));
    check(json.at("format") == kFormat, ErrorKind::unsupported, "{}: format {} is none that this version reads",
          file_of(run).string(), json_text(json.at("format")));
    for (const ordered_json& entry : json.at("phases")) records.push_back(record_of(entry));
  } catch (const ordered_json::exception& error) {
    fail(ErrorKind::corrupt, "{}: {}", file_of(run).string(), error.what());
  }
  return records;
}

void write_phase_records(const fs::path& run, const std::vector<PhaseRecord>& records) {
  ordered_json json{{"format", kFormat}, {"phases", ordered_json::array()}};
  for (const PhaseRecord& record : records) json["phases"].push_back(record_json(record));
  atomic_write(file_of(run), json_text(json, {.indent = 1}) + "\n");
}

std::string manifest_hash(const fs::path& checkpoint) {
  const std::string text = read_file(checkpoint / "manifest.json");
  return xxh3_128_hex(read_file(checkpoint / "manifest.json"));
}

std::optional<fs::path> phase_run(const fs::path& named) {
  const std::string text = named.string();
  const size_t colon = text.rfind(':');
  if (!fs::exists(named) && colon != std::string::npos && fs::is_directory(text.substr(0, colon))) {
    const fs::path run = text.substr(0, colon), phase = run / text.substr(colon + 1);
    check(fs::is_directory(phase) && fs::exists(run / kPhasesFile), ErrorKind::not_found,
          "{}: {} has no phase '{}' that has begun", text, run.string(), text.substr(colon + 1));
    return phase;
  }
  if (!fs::exists(named / kPhasesFile)) return std::nullopt;
  std::string last;  // of the main line
  for (const PhaseRecord& record : read_phase_records(named))
    if (record.control_of.empty()) last = record.name;
  check(!last.empty(), ErrorKind::not_found,
        "{}: none of its phases has ended; {}:NAME is the last checkpoint of phase NAME", text, text);
  return named / last;
}

}  // namespace hadal
