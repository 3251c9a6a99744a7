// The lines of a task's data files: JSON objects, one a line or as one list. Fields are those of any line; a line that
// lacks one has null there, as data sets in columns do.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace hadal::eval {

struct Docs {
  std::vector<nlohmann::ordered_json> docs;
  std::set<std::string> fields;
};

// Throws invalid, naming file and line, for what is no such JSON, and for a file without any.
Docs read_docs(const std::vector<std::filesystem::path>& files);

}  // namespace hadal::eval
