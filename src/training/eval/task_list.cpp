#include "eval/task_list.h"

#include "base/error.h"
#include "base/text_format.h"
#include "eval/file_task.h"

namespace hadal::eval {

std::vector<BuiltInTask> built_in_tasks() {
  std::vector<BuiltInTask> tasks;
  for (const ProblemKind& kind : problem_kinds()) tasks.push_back({std::string(kind.name), std::string(kind.about)});
  return tasks;
}

Task make_task(const std::string& name, const TaskOptions& options) {
  if (name.ends_with(".yaml") || name.ends_with(".yml")) return task_of_file(read_task_file(name), options);
  std::vector<std::string> names;
  for (const ProblemKind& kind : problem_kinds()) {
    if (kind.name == name) return problem_task(kind, options);
    names.emplace_back(kind.name);
  }
  const std::string near = nearest_name(name, names);
  fail(ErrorKind::invalid, "there is no task '{}'{}; there are {}, and files that end in .yaml", name,
       near.empty() ? "" : fmt::format(" (did you mean {}?)", near), fmt::join(names, ", "));
}

}  // namespace hadal::eval
