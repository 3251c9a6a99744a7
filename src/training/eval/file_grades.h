// Grades of items of task files, by lm-eval's rules. Of choices: the largest log-likelihood (acc), divided by the
// characters of the choice without its delimiter (acc_norm), by its bytes (acc_bytes), less that of the choice behind
// nothing (acc_mutual_info); the first of equal ones wins.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eval/task.h"
#include "eval/task_file.h"

namespace hadal::eval {

// What is right: numbers of choices (-1: none that there is), or texts of which one is enough.
struct ItemGold {
  std::vector<int64_t> choices;
  std::vector<std::string> texts;
};
ItemGold gold_of(const TaskFile& file, const Item& item, const Json& target, bool many_targets);

std::vector<Metric> file_metrics(const TaskFile& file, int64_t samples);

// golds: of each item, by its id.
std::function<std::vector<Graded>(const Item&, const std::vector<Replies>&)> grader_of(
    const std::shared_ptr<const TaskFile>& file, std::vector<ItemGold> golds);

// The place of the largest value, the first of equal ones.
size_t first_largest(const std::vector<double>& values);

}  // namespace hadal::eval
