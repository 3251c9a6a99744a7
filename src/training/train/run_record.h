// What a run has written down of itself, read again for pages: metrics.jsonl by kind of line, and the configuration.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/config.h"
#include "picture/chart.h"

namespace hadal {

using MetricLines = std::vector<nlohmann::ordered_json>;

struct RunRecord {
  std::string name;
  std::filesystem::path directory;
  nlohmann::ordered_json start;    // of the last start
  nlohmann::ordered_json packing;  // null of a run that is older than such lines
  MetricLines steps, validations, averages, samples, changes, shadows;
  Config config;
  bool has_config = false;
};

// Throws not_found for a directory without metrics, or with no step in them.
RunRecord read_run(const std::filesystem::path& directory);

double number(const nlohmann::ordered_json& line, const char* key);  // NaN: it has none
// Names of domains in the lines, in the order in which they come up; none where there are no several.
std::vector<std::string> domains_in(const MetricLines& lines);
std::string last_bits(const MetricLines& lines);  // bits per byte of the last one; "-" without any
double of_domain(const nlohmann::ordered_json& line, const std::string& domain, const char* key);  // NaN likewise

}  // namespace hadal
