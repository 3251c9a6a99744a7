// What of an evaluation can be checked without knowing the tasks.
#include <algorithm>

#include "base/error.h"
#include "config/config_io.h"

namespace hadal {
namespace {

void check_task(const EvaluationTaskConfig& task, const std::string& key, int64_t positions) {
  check(!task.name.empty(), ErrorKind::invalid, "{}.name is missing: which task?", key);
  check(task.limit >= 0, ErrorKind::invalid, "{}.limit = {} must be 0 (all) or a number of items", key, task.limit);
  check(task.few_shot >= -1, ErrorKind::invalid,
        "{}.few_shot = {} must be a number of examples, or -1 as the task says", key, task.few_shot);
  const auto belongs = [&](const char* what, bool said, bool is_it, const char* whose) {
    check(!said || is_it, ErrorKind::invalid, "{}.{} belongs to {}, and the task is '{}': leave it out", key, what,
          whose, task.name);
  };
  const bool gsm8k = task.name == "gsm8k";
  belongs("lengths", !task.lengths.empty(), task.name == "needle", "'needle'");
  belongs("file", !task.file.empty(), gsm8k || task.name == "positions", "'positions' and 'gsm8k'");
  belongs("examples", !task.examples.empty(), gsm8k, "'gsm8k'");
  for (const int64_t length : task.lengths)
    check(length > 0 && length <= positions, ErrorKind::invalid,
          "{}.lengths: {} must lie in 1 .. model.max_positions = {}", key, length, positions);
}

}  // namespace

void validate(const EvaluationConfig& evaluation, bool keeps_average, int64_t positions) {
  check(!evaluation.average || keeps_average, ErrorKind::invalid,
        "evaluation.average = true asks the moving average of the weights, and optim.ema_decay = 0 keeps none");
  const auto& tasks = evaluation.tasks;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const std::string key = fmt::format("evaluation.tasks.{}", i);
    check_task(tasks[i], key, positions);
    const auto same = [&](const EvaluationTaskConfig& other) { return other.name == tasks[i].name; };
    check(std::none_of(tasks.begin(), tasks.begin() + int64_t(i), same), ErrorKind::invalid,
          "{}.name = \"{}\" stands there twice; a run keeps one result of each task", key, tasks[i].name);
  }
}

}  // namespace hadal
