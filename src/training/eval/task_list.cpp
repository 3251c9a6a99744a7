#include "eval/task_list.h"

#include <algorithm>

#include "base/error.h"
#include "base/text_format.h"
#include "eval/file_task.h"
#include "eval/gsm8k_task.h"
#include "eval/positions_task.h"

namespace hadal::eval {

std::vector<BuiltInTask> built_in_tasks() {
  std::vector<BuiltInTask> tasks;
  for (const ProblemKind& kind : problem_kinds()) tasks.push_back({std::string(kind.name), std::string(kind.about)});
  tasks.push_back({"needle", "a fact in a long text, by length and depth"});
  tasks.push_back({"positions", "bits per token by position in long texts, --text"});
  tasks.push_back({"gsm8k", "from your file, --gsm8k"});
  return tasks;
}

void check_built_in(const std::string& name) {
  std::vector<std::string> names = {"needle", "positions", "gsm8k"};
  for (const ProblemKind& kind : problem_kinds()) names.emplace_back(kind.name);
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::string near = nearest_name(name, names);
  fail(ErrorKind::invalid, "there is no task '{}'{}; there are {}, and files that end in .yaml", name,
       near.empty() ? "" : fmt::format(" (did you mean {}?)", near), fmt::join(names, ", "));
}

Task make_task(const std::string& name, const TaskOptions& options, const TaskSources& sources) {
  if (name.ends_with(".yaml") || name.ends_with(".yml")) return task_of_file(read_task_file(name), options);
  if (name == "needle") return needle_task(sources.needle, options);
  if (name == "positions") return positions_task(sources.text, sources.needle.positions, options);
  if (name == "gsm8k") return gsm8k_task(sources.gsm8k, sources.gsm8k_examples, options);
  check_built_in(name);
  for (const ProblemKind& kind : problem_kinds())
    if (kind.name == name) return problem_task(kind, options);
  fail(ErrorKind::internal, "the task '{}' is in the list, and nothing makes it", name);
}

}  // namespace hadal::eval
