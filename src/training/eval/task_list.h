// Tasks by name: the generators built in, and files.
#pragma once
#include <string>
#include <vector>

#include "eval/needle.h"
#include "eval/problem_tasks.h"
#include "eval/task.h"

namespace hadal::eval {

struct BuiltInTask {
  std::string name, about;
};
std::vector<BuiltInTask> built_in_tasks();

// Throws invalid for a name that is none of these, and no task file's either, naming the nearest.
void check_built_in(const std::string& name);

// What tasks want to know besides: files of the user's, and the model's measures.
struct TaskSources {
  std::string gsm8k, gsm8k_examples;  // its test and training files
  std::string text;                   // of positions
  NeedleOptions needle;
};

// A name of built_in_tasks(), or the path of a task file (.yaml, .yml). Throws invalid for what is neither, naming the
// nearest.
Task make_task(const std::string& name, const TaskOptions& options, const TaskSources& sources);

}  // namespace hadal::eval
