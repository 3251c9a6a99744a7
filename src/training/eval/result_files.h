// What an evaluation leaves in a folder, in the shape of lm-eval's files:
//   results.json         {"results": {TASK: {"alias", "METRIC,FILTER", "METRIC_stderr,FILTER"}}, "configs", "n-shot",
//                         "n-samples", "higher_is_better", "config": {"model", ...}}
//   samples_TASK.jsonl   one line per item and filter: {"doc_id", "doc", "target", "arguments", "resps",
//                         "filtered_resps", "filter", "metrics", METRIC: value}; of ratios the value is [value, weight]
//   TASK.html            every item: prompt, choices, what was extracted and why (item_page.h)
// Nothing in them depends on when or where they were written.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "eval/evaluate.h"

namespace hadal::eval {

// about: what was asked, for "config".
Json results_json(const std::vector<TaskResult>& results, const Json& about);
std::string samples_text(const TaskResult& result);

// Makes the folder; each file is complete or absent.
void write_results(const std::filesystem::path& folder, const std::vector<TaskResult>& results, const Json& about);

}  // namespace hadal::eval
