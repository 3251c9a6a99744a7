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

inline std::vector<nlohmann::json> steps_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> steps;
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    auto parsed = parse_json(line, "a line");
    if (parsed["kind"] == "step") steps.push_back(parsed);
  }
  return steps;
}

}  // namespace hadal
