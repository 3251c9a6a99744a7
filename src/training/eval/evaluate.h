// A task asked of a model: replies, grades of each item, and metrics over all of them with their standard errors.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "eval/ask.h"
#include "eval/task.h"

namespace hadal::eval {

struct MetricResult {
  std::string name, filter;
  double value = 0;
  std::optional<double> error;  // standard error; of perplexities linearised. Nothing below two items.
  bool higher_is_better = true;
};

struct TaskResult {
  Task task;
  std::vector<std::vector<Replies>> replies;  // [item][request][sample]
  std::vector<std::vector<Graded>> grades;    // [item][filter]
  std::vector<MetricResult> metrics;          // filter by filter, in the order of task.metrics
  AskReport asked;
  double seconds = 0;
};

// Throws invalid for a task without items.
TaskResult evaluate(const AskedModel& model, Task task, const AskOptions& options);

// The metrics of items that are graded already; of a ratio those items that have a weight, and none where none has.
std::vector<MetricResult> metrics_of(const Task& task, const std::vector<std::vector<Graded>>& grades);

// For a terminal: task, filter, shots, metric, value, standard error; then the notes of all tasks.
std::string results_table(const std::vector<TaskResult>& results);

}  // namespace hadal::eval
