// A model asked for tasks: one piece for `hadal eval` and for what a run asks when it has ended.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/model_choice.h"
#include "eval/evaluate.h"
#include "eval/task_list.h"

namespace hadal {

struct AskedTask {
  std::string name;           // as in make_task()
  eval::TaskOptions options;  // chat: the request's word decides
  eval::TaskSources sources;  // what the model says of them (positions, tokens of a text) is filled in
};

struct EvaluationRequest {
  ModelChoice model;
  std::vector<AskedTask> tasks;
  std::string bos = "auto", chat = "auto", overlap = "auto";  // as the options of hadal eval
  bool quiet = false;
  // Hears of each result, by the task's place in the list, as soon as it is there; may be empty.
  std::function<void(size_t task, const eval::TaskResult&)> on_result;
};

// In the order of the tasks. What cannot be read is refused before anything is asked.
std::vector<eval::TaskResult> evaluate_model(const EvaluationRequest& request, const Exec& exec);

}  // namespace hadal
