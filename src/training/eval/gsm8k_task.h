// GSM8K from the user's own files ({"question", "answer": "... #### 72"} a line), asked and graded as lm-eval's task
// gsm8k does, but with the first examples of the training file instead of drawn ones.
#pragma once
#include <string>

#include "eval/problem_tasks.h"
#include "eval/task.h"

namespace hadal::eval {

// examples: the training file, for few_shot > 0 (five where the options do not say). Throws as task_of_file.
Task gsm8k_task(const std::string& test_file, const std::string& examples, const TaskOptions& options);

}  // namespace hadal::eval
