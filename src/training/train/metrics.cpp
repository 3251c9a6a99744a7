// Appending and reading metrics.
#include "train/metrics.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace hadal {

using nlohmann::ordered_json;

std::vector<ordered_json> read_metrics(const std::filesystem::path& path) {
  std::vector<ordered_json> lines;
  std::istringstream text(read_file(path));
  std::string line;
  while (std::getline(text, line)) {
    try {
      auto json = parse_json<ordered_json>(line, path.string());
      if (json.is_object() && json.contains("kind") && json["kind"].is_string()) lines.push_back(std::move(json));
    } catch (const Error&) {  // torn when a run was killed
    }
  }
  return lines;
}

MetricsWriter::MetricsWriter(const std::filesystem::path& path, int64_t last_step) {
  if (std::filesystem::exists(path)) {
    std::string kept;
    for (const auto& line : read_metrics(path)) {
      const int64_t step = line.contains("step") && line["step"].is_number_integer() ? line["step"].get<int64_t>() : 0;
      if (step > last_step) continue;
      kept_.insert(mark(line));
      kept += json_text(line, {.lossy = true}) + "\n";
    }
    atomic_write(path, kept);
  }
  file_ = std::fopen(path.c_str(), "ab");
  check(file_ != nullptr, ErrorKind::io, "{}: cannot be opened for writing", path.string());
}

MetricsWriter::~MetricsWriter() {
  if (file_) std::fclose(file_);
}

std::string MetricsWriter::mark(const ordered_json& line) {
  const std::string kind = line.value("kind", "");
  if (kind != "validation" && kind != "average" && kind != "sample") return "";
  ordered_json key;
  for (const char* name : {"kind", "step", "final", "prompt", "text"}) {
    if (line.contains(name)) key[name] = line[name];
  }
  return json_text(key, {.lossy = true});
}

bool MetricsWriter::holds(const ordered_json& line) const {
  const auto key = mark(line);
  return !key.empty() && kept_.contains(key);
}

void MetricsWriter::write(const ordered_json& line) {
  if (holds(line)) return;
  const std::string text = json_text(line, {.lossy = true}) + "\n";
  // After a failure the last line may be torn: a new one begins, so that only that line is lost.
  const bool whole = !failed_ || std::fputc('\n', file_) != EOF;
  if (!whole || std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    failed_ = true;
    std::clearerr(file_);
  }
}

}  // namespace hadal
