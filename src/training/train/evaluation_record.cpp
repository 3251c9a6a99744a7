#include "train/evaluation_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/html.h"
#include "base/json.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "hadal-evaluation-1";

ordered_json json_of(const Grid& grid) {
  return {{"title", grid.title}, {"across", grid.across},   {"down", grid.down},
          {"rows", grid.rows},   {"columns", grid.columns}, {"values", grid.values}};
}

Grid grid_of(const ordered_json& json) {
  Grid grid{json.at("title"), json.at("across"), json.at("down"), json.at("rows"), json.at("columns"), {}};
  for (const auto& value : json.at("values")) grid.values.push_back(value.get<double>());
  return grid;
}

EvaluationRecord record_of(const ordered_json& json) {
  EvaluationRecord record{json.at("task"), json.at("checkpoint"), json.at("asked"), json.at("items")};
  for (const auto& metric : json.at("metrics")) {
    record.metrics.push_back({metric.at("name"), metric.at("filter"), metric.at("value")});
    if (metric.at("error").is_number()) record.metrics.back().error = metric.at("error").get<double>();
  }
  record.notes = json.at("notes").get<std::vector<std::string>>();
  for (const auto& grid : json.at("grids")) record.grids.push_back(grid_of(grid));
  for (const auto& sample : json.at("samples"))
    record.samples.push_back({sample.at("asked"), sample.at("reply"), sample.at("target"), sample.at("right")});
  return record;
}

}  // namespace

void write_evaluation(const fs::path& run, const EvaluationRecord& record) {
  check(!record.task.empty() && record.task.find('/') == std::string::npos, ErrorKind::invalid,
        "the task '{}' cannot be kept in a run: a file is called so, and its name has no '/'", record.task);
  ordered_json json{{"format", kFormat},
                    {"task", record.task},
                    {"checkpoint", record.checkpoint},
                    {"asked", record.asked},
                    {"items", record.items},
                    {"metrics", ordered_json::array()},
                    {"notes", record.notes},
                    {"grids", ordered_json::array()},
                    {"samples", ordered_json::array()}};
  for (const auto& metric : record.metrics)
    json["metrics"].push_back({{"name", metric.name},
                               {"filter", metric.filter},
                               {"value", metric.value},
                               {"error", metric.error ? ordered_json(*metric.error) : ordered_json()}});
  for (const Grid& grid : record.grids) json["grids"].push_back(json_of(grid));
  for (const auto& sample : record.samples)
    json["samples"].push_back(
        {{"asked", sample.asked}, {"reply", sample.reply}, {"target", sample.target}, {"right", sample.right}});
  make_directories(run / "evals");
  atomic_write(run / "evals" / (record.task + ".json"), json_text(json, {.indent = 1, .lossy = true}) + "\n");
}

std::vector<EvaluationRecord> read_evaluations(const fs::path& run) {
  std::vector<EvaluationRecord> records;
  if (!fs::is_directory(run / "evals")) return records;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run / "evals"))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    try {
      const auto json = read_json<ordered_json>(file);
      check(json.at("format") == kFormat, ErrorKind::unsupported, "{}: format {} is none that this version reads",
            file.string(), json_text(json.at("format")));
      records.push_back(record_of(json));
    } catch (const ordered_json::exception& error) {
      fail(ErrorKind::corrupt, "{}: {}", file.string(), error.what());
    }
  }
  return records;
}

std::string evaluation_grids(const std::vector<EvaluationRecord>& records) {
  std::string out;
  for (const EvaluationRecord& record : records)
    for (const Grid& grid : record.grids) out += grid_chart(grid);
  return out;
}

std::string evaluation_samples(const std::vector<EvaluationRecord>& records) {
  std::string out;
  for (const EvaluationRecord& record : records) {
    if (record.samples.empty()) continue;
    out += fmt::format("<details><summary>{}: {} of {} items</summary>\n", html_escape(record.task),
                       record.samples.size(), record.items);
    for (const auto& sample : record.samples)
      out += fmt::format("<pre>{}<b>{}</b></pre><p class=\"soft\">{}{}</p>\n", html_escape(sample.asked),
                         html_escape(sample.reply), sample.right ? "right" : "wrong: expected ",
                         sample.right ? "" : html_escape(sample.target));
    out += "</details>\n";
  }
  return out;
}

}  // namespace hadal
