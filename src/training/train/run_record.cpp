#include "train/run_record.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "config/config_io.h"
#include "train/metrics.h"

namespace hadal {

using nlohmann::ordered_json;

RunRecord read_run(const std::filesystem::path& directory) {
  const auto path = directory / "metrics.jsonl";
  check(std::filesystem::exists(path), ErrorKind::not_found,
        "{}: no metrics.jsonl in it: not a run directory, or a run that has not begun", directory.string());
  RunRecord run;
  run.directory = directory;
  run.name = directory.filename().empty() ? directory.parent_path().filename().string() : directory.filename().string();
  for (auto& line : read_metrics(path)) {
    const auto kind = line["kind"].get<std::string>();
    if (kind == "start")
      run.start = std::move(line);
    else if (kind == "step")
      run.steps.push_back(std::move(line));
    else if (kind == "packing")
      run.packing = std::move(line);
    else if (kind == "validation")
      run.validations.push_back(std::move(line));
    else if (kind == "average")
      run.averages.push_back(std::move(line));
    else if (kind == "sample")
      run.samples.push_back(std::move(line));
    else if (kind == "shadow")
      run.shadows.push_back(std::move(line));
    else if (kind == "change")
      run.changes.push_back(std::move(line));
  }
  check(!run.steps.empty(), ErrorKind::not_found, "{}: no step in it yet", path.string());
  if (std::filesystem::exists(directory / "config.toml")) {
    run.config = load_config((directory / "config.toml").string());
    run.config.run = directory.string();
    run.has_config = true;
  }
  return run;
}

double number(const ordered_json& line, const char* key) {
  const auto it = line.find(key);
  return it != line.end() && it->is_number() ? it->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::string last_bits(const MetricLines& lines) {
  return lines.empty() ? "-" : fmt::format("{:.4f}", number(lines.back(), "bits_per_byte"));
}

std::vector<std::string> domains_in(const MetricLines& lines) {
  std::vector<std::string> names;
  for (const ordered_json& line : lines) {
    if (!line.contains("domains")) continue;
    for (const auto& item : line["domains"].items())
      if (std::find(names.begin(), names.end(), item.key()) == names.end()) names.push_back(item.key());
  }
  return names;
}

double of_domain(const ordered_json& line, const std::string& domain, const char* key) {
  if (!line.contains("domains") || !line["domains"].contains(domain)) return std::numeric_limits<double>::quiet_NaN();
  return number(line["domains"][domain], key);
}

}  // namespace hadal
