// Needle in a haystack: one fact in the midst of a long text, asked for at its end, for lengths of the text and depths
// of the fact in it. Keys and values of the test are none of those in training data made by needle_text().
//
//   The river runs past the old mill. ... The secret number of the green harbour is 4071. ... Nobody came that day.
//   The secret number of the green harbour is ___
//
// Graded twice: whether greedy decoding writes the value, and its rank among 16 candidates by log-probability (chance:
// one in 16), which moves before the former does. All candidates share the text's cache.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/evaluate.h"
#include "eval/problem.h"
#include "eval/problem_tasks.h"
#include "eval/task.h"

namespace hadal::eval {

struct NeedleOptions {
  std::vector<int64_t> lengths;  // tokens of a whole text with its value; empty: the positions, and halves of them
  std::vector<int64_t> depths = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100};  // percent
  int64_t per_cell = 4;
  int64_t positions = 0;                                     // of the model
  std::function<int64_t(const std::string& text)> n_tokens;  // of a text, with what stands before it
};

// Throws invalid for a length beyond the positions or too short for the fact and the question.
Task needle_task(const NeedleOptions& needle, const TaskOptions& options);

// A document of training data of about so many bytes, the value at its end: a function of its arguments.
std::string needle_text(Split split, uint64_t seed, int64_t index, int64_t bytes);

// Shares of right answers by length and depth.
struct NeedleGrid {
  std::vector<int64_t> lengths, depths;
  std::vector<double> first, greedy;  // [length][depth]; first: of 16 candidates the likeliest
};
NeedleGrid needle_grid(const TaskResult& result);
// For a terminal, depths across; colour: behind each number.
std::string needle_table(const NeedleGrid& grid, bool colour);
std::string needle_svg(const NeedleGrid& grid, const std::string& title);

}  // namespace hadal::eval
