// The tasks that need no file: problems of a kind, drawn from a seed, asked in a chat or, of a model without one, as
// text ("Question: ...\nAnswer:"). Examples in front of the question are problems of the split train.
#pragma once
#include "eval/problem.h"
#include "eval/task.h"

namespace hadal::eval {

// What every maker of a task is told.
struct TaskOptions {
  int64_t limit = 0;        // items; 0: all, or of a generator its own number
  int64_t few_shot = -1;    // examples; -1: as the task says
  int64_t samples = 1;      // of each generation
  double temperature = -1;  // of samples; negative: greedy, or as the task says
  uint64_t seed = 1;        // of a generator
  bool chat = false;        // asks through the model's chat template
  // Of a chat of a task from a file: examples are turns of their own, else they stand in the question's message.
  bool example_turns = true;
};

Task problem_task(const ProblemKind& kind, const TaskOptions& options);

// One line of a file of training data in the form "messages": a user's question and an assistant's answer.
std::string problem_line(const Problem& problem);

}  // namespace hadal::eval
