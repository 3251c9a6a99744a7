// The report of one run, or of two beside each other: a single HTML page without external requests, light and dark.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace hadal {

// Reads RUN/metrics.jsonl of each run (one or two). Throws not_found for a run without metrics.
std::string report_html(const std::vector<std::filesystem::path>& runs);

}  // namespace hadal
