// Bits per token by the position of the token in a long text: whether a model uses what lies far back, and whether it
// still writes sense past the length that it was trained at. Texts come from a file of the user's; each is read from
// its beginning, as far as the model has positions, and one that ends before the last bucket says nothing of it.
#pragma once
#include <string>

#include "eval/evaluate.h"
#include "eval/problem_tasks.h"
#include "eval/task.h"

namespace hadal::eval {

// file: JSON lines with "text", or plain text, which is cut into pieces. Metrics: bits per token of positions 64-127,
// 128-255, ... up to the model's, each over the texts that reach its end. Throws what reading throws, and invalid for a
// file without text.
Task positions_task(const std::string& file, int64_t positions, const TaskOptions& options);

}  // namespace hadal::eval
