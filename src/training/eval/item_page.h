// A page of a task's items: what was asked, what the model said, what was extracted and why, and whether it is right.
// Everything that comes from a task or a model is escaped: the page has no scripts and asks for nothing outside.
#pragma once
#include <string>

#include "eval/evaluate.h"

namespace hadal::eval {

// At most so many items of each outcome are shown (wrong ones first), and the page says so.
std::string item_page(const TaskResult& result, int64_t most = 500);

}  // namespace hadal::eval
