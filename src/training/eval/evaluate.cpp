#include "eval/evaluate.h"

#include <cmath>

#include "base/clock.h"
#include "base/error.h"
#include "base/table.h"
#include "base/text_format.h"
#include "grading/statistics.h"

namespace hadal::eval {
namespace {

MetricResult aggregate(const Metric& metric, const std::string& filter, const std::vector<double>& values,
                       const std::vector<double>& weights) {
  MetricResult result{metric.name, filter, 0, std::nullopt, metric.higher_is_better};
  const double mean = grading::mean_of(values);
  const std::optional<double> error = grading::standard_error(values);
  const grading::Ratio ratio = grading::ratio_of(values, weights);
  const auto scaled = [](const std::optional<double>& value, double factor) {
    return value ? std::optional(*value * factor) : std::nullopt;
  };
  switch (metric.aggregate) {
    case Aggregate::mean: result.value = mean, result.error = error; break;
    case Aggregate::exp_minus_mean: result.value = std::exp(-mean), result.error = scaled(error, result.value); break;
    case Aggregate::exp_minus_ratio:
      result.value = std::exp(-ratio.value), result.error = scaled(ratio.error, result.value);
      break;
    case Aggregate::minus_ratio_bits:
      result.value = -ratio.value / std::log(2.0), result.error = scaled(ratio.error, 1 / std::log(2.0));
  }
  return result;
}

}  // namespace

std::vector<MetricResult> metrics_of(const Task& task, const std::vector<std::vector<Graded>>& grades) {
  std::vector<MetricResult> results;
  if (grades.empty()) return results;
  for (size_t f = 0; f < grades[0].size(); ++f) {
    for (size_t m = 0; m < task.metrics.size(); ++m) {
      std::vector<double> values, weights;
      for (const auto& item : grades) {
        check(item.size() == grades[0].size() && item[f].values.size() == task.metrics.size() &&
                  item[f].values[m].first == task.metrics[m].name,
              ErrorKind::internal, "{}: an item has other metrics than its task", task.name);
        const MetricValue& value = item[f].values[m].second;
        if (value.weight == 0) continue;  // a ratio that the item says nothing of
        values.push_back(value.value), weights.push_back(value.weight);
      }
      if (values.empty()) continue;
      results.push_back(aggregate(task.metrics[m], grades[0][f].filter, values, weights));
    }
  }
  return results;
}

TaskResult evaluate(const AskedModel& model, Task task, const AskOptions& options) {
  check(!task.items.empty(), ErrorKind::invalid, "{}: the task has no items", task.name);
  const double begin = steady_seconds();
  TaskResult result{.task = std::move(task)};
  AskOptions named = options;
  named.label = result.task.name;
  try {
    result.replies = ask(model, result.task.items, named, result.asked);
    for (size_t i = 0; i < result.task.items.size(); ++i)
      result.grades.push_back(result.task.grade(result.task.items[i], result.replies[i]));
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", result.task.name, error.what()));
  }
  result.metrics = metrics_of(result.task, result.grades);
  if (result.asked.cut > 0)
    result.task.notes.push_back(
        fmt::format("{} prompts were longer than the model's {} positions and lost their beginning", result.asked.cut,
                    model.transformer.config().max_positions));
  int64_t undecided = 0;
  for (const auto& item : result.grades)
    for (const Graded& graded : item) undecided += graded.undecided;
  if (undecided > 0)
    result.task.notes.push_back(fmt::format("{} answers cannot be read as mathematics and count as wrong", undecided));
  result.seconds = steady_seconds() - begin;
  return result;
}

std::string results_table(const std::vector<TaskResult>& results) {
  Table table({"task", "items", "filter", "n-shot", "metric", "value", "stderr"});
  std::string notes;
  for (const TaskResult& result : results) {
    bool first = true;
    for (const MetricResult& metric : result.metrics) {
      table.add({first ? result.task.name : "", first ? format_count(int64_t(result.task.items.size())) : "",
                 metric.filter, first ? std::to_string(result.task.n_shots) : "",
                 metric.name + (metric.higher_is_better ? "" : " (lower is better)"),
                 fmt::format("{:.4f}", metric.value), metric.error ? fmt::format("{:.4f}", *metric.error) : "-"});
      first = false;
    }
    for (const std::string& note : result.task.notes) notes += fmt::format("{}: {}\n", result.task.name, note);
  }
  return table.text() + notes;
}

}  // namespace hadal::eval
