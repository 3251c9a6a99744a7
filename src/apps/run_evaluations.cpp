#include "apps/run_evaluations.h"

#include <algorithm>
#include <filesystem>

#include "apps/eval_record.h"
#include "apps/evaluation.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "eval/task_file.h"
#include "train/evaluation_record.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

bool is_task_file(const std::string& name) { return name.ends_with(".yaml") || name.ends_with(".yml"); }

// What it is called in the run.
std::string result_name(const EvaluationTaskConfig& task) {
  return is_task_file(task.name) ? eval::read_task_file(task.name).task : task.name;
}

std::string whole_path(const std::string& path) {
  return path.empty() ? "" : fs::absolute(path).lexically_normal().string();
}

eval::Json about_task(const Config& config, const EvaluationTaskConfig& task, bool average) {
  return {{"model", config.run},
          {"ema", average},
          {"tasks", eval::Json::array({is_task_file(task.name) ? whole_path(task.name) : task.name})},
          {"limit", task.limit},
          {"few_shot", task.few_shot},
          {"samples", 1},
          {"seed", config.evaluation.seed},
          {"bos", "auto"},
          {"chat", "auto"},
          {"lengths", task.lengths},
          {"file", whole_path(task.file)},
          {"examples", whole_path(task.examples)}};
}

// The run may lie elsewhere now.
eval::Json but_for_the_model(eval::Json about) {
  about.erase("model");
  return about;
}

// The tasks that the run keeps no result of.
std::vector<const EvaluationTaskConfig*> missing(const Config& config, bool average) {
  const auto checkpoints = list_checkpoints(fs::path(config.run) / "checkpoints");
  check(!checkpoints.empty(), ErrorKind::internal, "{}: a run that has ended, without a checkpoint", config.run);
  const auto kept = read_evaluations(config.run);
  std::vector<const EvaluationTaskConfig*> tasks;
  for (const EvaluationTaskConfig& task : config.evaluation.tasks) {
    const auto about = but_for_the_model(about_task(config, task, average));
    const std::string name = result_name(task), checkpoint = checkpoints.back().filename().string();
    const auto stands = [&](const EvaluationRecord& record) {
      return record.task == name && record.average == average && record.checkpoint == checkpoint &&
             but_for_the_model(record.asked) == about;
    };
    if (std::none_of(kept.begin(), kept.end(), stands)) tasks.push_back(&task);
  }
  return tasks;
}

AskedTask asked_task(const EvaluationTaskConfig& task, uint64_t seed) {
  AskedTask asked{.name = task.name};
  asked.options.limit = task.limit, asked.options.few_shot = task.few_shot, asked.options.seed = seed;
  asked.sources.needle.lengths = task.lengths;
  (task.name == "gsm8k" ? asked.sources.gsm8k : asked.sources.text) = task.file;
  asked.sources.gsm8k_examples = task.examples;
  return asked;
}

void say(const Config& config, const eval::TaskResult& result, bool average, bool quiet) {
  for (const auto& metric : result.metrics)
    print_notes({fmt::format("{}{}: {} {} {:.4f}{} of {} items", config.run, average ? ", average" : "",
                             result.task.name, metric.name, metric.value,
                             metric.error ? fmt::format(" ± {:.4f}", *metric.error) : "", result.task.items.size())},
                quiet);
}

}  // namespace

void check_evaluations(const EvaluationConfig& evaluation, bool files, const std::string& where) {
  std::vector<std::string> names;
  for (const EvaluationTaskConfig& task : evaluation.tasks) {
    try {
      if (!is_task_file(task.name)) eval::check_built_in(task.name);
      const std::string name = result_name(task);
      evaluation_file("", name, false);
      check(std::find(names.begin(), names.end(), name) == names.end(), ErrorKind::invalid,
            "two tasks are called '{}'; a run keeps one result of each task", name);
      names.push_back(name);
      check(!task.file.empty() || (name != "positions" && name != "gsm8k"), ErrorKind::invalid,
            "{}: its file is missing: say file = \"...\" beside its name", name);
      for (const std::string& file : {task.file, task.examples})
        check(!files || file.empty() || fs::is_regular_file(file), ErrorKind::not_found,
              "{}: {}: there is no such file", task.name, file);
    } catch (const Error& error) {
      throw Error(error.kind(), fmt::format("{}: evaluation.tasks: {}", where, error.what()));
    }
  }
}

void evaluate_run(const Config& config, const Exec& exec, bool quiet) {
  for (const bool average : {false, true}) {
    if (average && !config.evaluation.average) continue;
    const auto tasks = missing(config, average);
    if (tasks.empty()) continue;
    EvaluationRequest request;
    request.model.directory = config.run, request.model.load.ema = average, request.quiet = quiet;
    for (const EvaluationTaskConfig* task : tasks) request.tasks.push_back(asked_task(*task, config.evaluation.seed));
    request.on_result = [&](size_t task, const eval::TaskResult& result) {
      record_in_run(config.run, {result}, about_task(config, *tasks[task], average));
      say(config, result, average, quiet);
    };
    evaluate_model(request, exec);
  }
}

}  // namespace hadal
