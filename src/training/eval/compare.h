// Two evaluations of the same items beside each other, from their folders (result_files.h): per task, filter and metric
// the means, a paired test of the difference, and the items whose outcome changed.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "eval/task.h"
#include "grading/statistics.h"

namespace hadal::eval {

struct FlippedItem {
  int64_t id = 0;
  double before = 0, after = 0;
  std::string prompt, target;               // what was asked, for people
  std::string answer_before, answer_after;  // what was extracted
};

struct ComparedMetric {
  std::string task, filter, metric;
  double before = 0, after = 0;  // means
  bool higher_is_better = true;
  grading::PairedTest test;
  std::vector<FlippedItem> flipped;  // of the task's first metric alone
};

// Tasks that both folders have. Throws not_found where there is none, and invalid where a task has other items in one
// than in the other: a test of pairs wants the same.
std::vector<ComparedMetric> compare_evaluations(const std::filesystem::path& a, const std::filesystem::path& b);

// For a terminal: the table, then at most so many flipped items of each task.
std::string comparison_text(const std::vector<ComparedMetric>& compared, int64_t most_items);

}  // namespace hadal::eval
