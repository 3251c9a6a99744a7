// What a run noted of its steps.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace hadal {

// The lines of one kind.
inline std::vector<nlohmann::json> lines_of(const std::filesystem::path& run, const std::string& kind) {
  std::vector<nlohmann::json> found;
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    auto parsed = parse_json(line, "a line");
    if (parsed["kind"] == kind) found.push_back(parsed);
  }
  return found;
}
inline std::vector<nlohmann::json> steps_of(const std::filesystem::path& run) { return lines_of(run, "step"); }

}  // namespace hadal
