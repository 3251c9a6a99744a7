#include "train/evaluation_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/html.h"
#include "base/json.h"
#include "picture/html_table.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "hadal-evaluation-1";
constexpr const char* kAverage = ".ema";

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
  EvaluationRecord record{.task = json.at("task"),
                          .average = json.value("average", false),  // older files say nothing of it
                          .checkpoint = json.at("checkpoint"),
                          .asked = json.at("asked"),
                          .items = json.at("items")};
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

fs::path evaluation_file(const fs::path& run, const std::string& task, bool average) {
  check(!task.empty() && task.find('/') == std::string::npos && !task.ends_with(kAverage), ErrorKind::invalid,
        "the task '{}' cannot be kept in a run: a file is called so, and its name has no '/', nor ends in '{}'", task,
        kAverage);
  return run / "evals" / (task + (average ? kAverage : "") + ".json");
}

void write_evaluation(const fs::path& run, const EvaluationRecord& record) {
  const fs::path file = evaluation_file(run, record.task, record.average);
  ordered_json json{{"format", kFormat},
                    {"task", record.task},
                    {"average", record.average},
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
  atomic_write(file, json_text(json, {.indent = 1, .lossy = true}) + "\n");
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

void add_columns(std::vector<EvaluationColumn>& columns, const std::string& title,
                 const std::vector<EvaluationRecord>& records) {
  EvaluationColumn last{title, {}}, average{title + ", average", {}};
  for (const EvaluationRecord& record : records) (record.average ? average : last).records.push_back(record);
  columns.push_back(std::move(last));
  if (!average.records.empty()) columns.push_back(std::move(average));
}

std::string evaluation_table(const std::vector<EvaluationColumn>& columns) {
  std::vector<std::string> head{"task", "metric"}, keys;
  std::map<std::string, std::map<size_t, std::string>> cells;  // [task, metric][column]
  for (size_t column = 0; column < columns.size(); ++column) {
    head.push_back(columns[column].title);
    for (const EvaluationRecord& record : columns[column].records)
      for (const auto& metric : record.metrics) {
        const std::string key =
            record.task + '\n' + metric.name + (metric.filter == "none" ? "" : ", " + metric.filter);
        if (!cells.contains(key)) keys.push_back(key);
        cells[key][column] = fmt::format("{:.4f}{} of {} items", metric.value,
                                         metric.error ? fmt::format(" ± {:.4f}", *metric.error) : "", record.items);
      }
  }
  if (keys.empty()) return "";
  HtmlTable table(escaped(head));
  for (const std::string& key : keys) {
    std::vector<std::string> row{key.substr(0, key.find('\n')), key.substr(key.find('\n') + 1)};
    for (size_t column = 0; column < columns.size(); ++column)
      row.push_back(cells[key].contains(column) ? cells[key][column] : "-");
    table.add(escaped(row));
  }
  return table.text();
}

std::string evaluation_grids(const std::vector<EvaluationRecord>& records) {
  std::string out;
  for (const EvaluationRecord& record : records)
    for (Grid grid : record.grids) {
      if (record.average) grid.title += ", average";
      out += grid_chart(grid);
    }
  return out;
}

std::string evaluation_samples(const std::vector<EvaluationRecord>& records) {
  std::string out;
  for (const EvaluationRecord& record : records) {
    if (record.samples.empty()) continue;
    out += fmt::format("<details><summary>{}{}: {} of {} items</summary>\n", html_escape(record.task),
                       record.average ? ", average" : "", record.samples.size(), record.items);
    for (const auto& sample : record.samples)
      out += fmt::format("<pre>{}<b>{}</b></pre><p class=\"soft\">{}{}</p>\n", html_escape(sample.asked),
                         html_escape(sample.reply), sample.right ? "right" : "wrong: expected ",
                         sample.right ? "" : html_escape(sample.target));
    out += "</details>\n";
  }
  return out;
}

}  // namespace hadal
