// What evaluations of a run found, kept in it for its page: RUN/evals/TASK.json, the last evaluation of each task, and
// RUN/evals/TASK.ema.json, that of the moving average of the weights.
//   {"format": "hadal-evaluation-1", "task", "average": false, "checkpoint",
//    "asked": {model, ema, limit, few_shot, samples, seed, ...}, "items",
//    "metrics": [{"name", "filter", "value", "error"}], "notes": [..],
//    "grids": [{"title", "across", "down", "rows": [..], "columns": [..], "values": [..]}],
//    "samples": [{"asked", "reply", "target", "right"}]}              a few items, in the order of the task
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "picture/grid.h"

namespace hadal {

struct EvaluationRecord {
  struct Metric {
    std::string name, filter;
    double value = 0;
    std::optional<double> error;
  };
  struct Sample {
    std::string asked, reply, target;
    bool right = false;
  };
  std::string task;
  bool average = false;    // of the moving average of the weights
  std::string checkpoint;  // name of its directory
  nlohmann::ordered_json asked;
  int64_t items = 0;
  std::vector<Metric> metrics;
  std::vector<std::string> notes;
  std::vector<Grid> grids;
  std::vector<Sample> samples;
};

// Where it lies. Throws invalid for a task whose name is no file's, or that of an average's file.
std::filesystem::path evaluation_file(const std::filesystem::path& run, const std::string& task, bool average);
void write_evaluation(const std::filesystem::path& run, const EvaluationRecord& record);
// By the names of tasks. Throws corrupt for a file that is none of these.
std::vector<EvaluationRecord> read_evaluations(const std::filesystem::path& run);

// Columns of a table: evaluations under a title, those of averages in a column of their own.
struct EvaluationColumn {
  std::string title;
  std::vector<EvaluationRecord> records;
};
void add_columns(std::vector<EvaluationColumn>& columns, const std::string& title,
                 const std::vector<EvaluationRecord>& records);
// A row for each task and metric; empty without any.
std::string evaluation_table(const std::vector<EvaluationColumn>& columns);
// Grids and samples of all, for pages; empty without any.
std::string evaluation_grids(const std::vector<EvaluationRecord>& records);
std::string evaluation_samples(const std::vector<EvaluationRecord>& records);

}  // namespace hadal
