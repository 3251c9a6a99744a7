#include "apps/eval_record.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/phase_record.h"
#include "eval/needle.h"
#include "train/evaluation_record.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSamplesKept = 6;

std::vector<std::string> texts_of(const std::vector<int64_t>& values, const char* unit) {
  std::vector<std::string> texts;
  for (const int64_t value : values) texts.push_back(std::to_string(value) + unit);
  return texts;
}

std::vector<Grid> grids_of(const eval::TaskResult& result) {
  if (result.task.name != "needle") return {};
  const eval::NeedleGrid found = eval::needle_grid(result);
  Grid grid{"needle, likeliest of 16 (chance 0.06)",
            "depth",
            "tokens",
            texts_of(found.lengths, ""),
            texts_of(found.depths, "%"),
            found.first};
  Grid greedy = grid;
  greedy.title = "needle, written by greedy decoding", greedy.values = found.greedy;
  return {grid, greedy};
}

std::string asked_of(const eval::Request& request) {
  std::string text = request.context;
  for (const eval::ChatTurn& turn : request.chat) text += fmt::format("[{}] {}\n", turn.role, turn.content);
  return text;
}

// The first items that were answered with a text, for people to read.
std::vector<EvaluationRecord::Sample> samples_of(const eval::TaskResult& result) {
  std::vector<EvaluationRecord::Sample> samples;
  for (size_t i = 0; i < result.task.items.size() && samples.size() < kSamplesKept; ++i) {
    const eval::Item& item = result.task.items[i];
    if (item.requests.empty() || item.requests[0].kind != eval::RequestKind::generate) continue;
    const auto& values = result.grades[i].at(0).values;
    samples.push_back({asked_of(item.requests[0]), result.replies[i].at(0).at(0).text, item.target,
                       !values.empty() && values[0].second.value > 0});
  }
  return samples;
}

}  // namespace

fs::path run_of_record(const std::string& model) {
  const fs::path run = phase_run(model).value_or(fs::path(model));
  check(fs::is_directory(run / "checkpoints"), ErrorKind::invalid,
        "--record keeps results in the directory of a run, and {} is none; --to FOLDER writes them elsewhere",
        run.string());
  return run;
}

void record_in_run(const std::string& model, const std::vector<eval::TaskResult>& results, const eval::Json& about) {
  const fs::path run = run_of_record(model);
  const auto checkpoints = list_checkpoints(run / "checkpoints");
  for (const eval::TaskResult& result : results) {
    EvaluationRecord record{.task = result.task.name,
                            .average = about.value("ema", false),
                            .checkpoint = checkpoints.empty() ? "" : checkpoints.back().filename().string(),
                            .asked = about,
                            .items = int64_t(result.task.items.size())};
    for (const auto& metric : result.metrics)
      record.metrics.push_back({metric.name, metric.filter, metric.value, metric.error});
    record.notes = result.task.notes, record.grids = grids_of(result), record.samples = samples_of(result);
    write_evaluation(run, record);
  }
}

}  // namespace hadal
