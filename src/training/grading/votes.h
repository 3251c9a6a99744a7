// What many samples of one item say: the answer that most of them give, where answers are equal by the task's own
// measure and not letter by letter.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hadal::grading {

struct SampledAnswer {
  std::string answer;
  bool found = true;  // an answer was taken from the text; without one it has no vote
};
using SameAnswer = std::function<bool(const std::string&, const std::string&)>;

// The first sample of the largest class of equal answers, of equally large classes that of the first sample; -1 where
// no sample has an answer. An answer joins the first class whose first member it equals.
int64_t majority(const std::vector<SampledAnswer>& samples, const SameAnswer& same);

}  // namespace hadal::grading
