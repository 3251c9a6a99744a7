// A task file as a task: its items with their requests, and the grades of the four types by lm-eval's rules.
#pragma once
#include "eval/problem_tasks.h"
#include "eval/task.h"
#include "eval/task_file.h"

namespace hadal::eval {

// Throws what reading the file's data throws, and invalid where examples are asked for that there are not. An item is
// never an example in front of itself.
Task task_of_file(TaskFile file, const TaskOptions& options);

}  // namespace hadal::eval
