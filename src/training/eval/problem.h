// Problems with one right answer, drawn from a seed: what the tasks word_problems, arithmetic, recall and reading ask,
// and what training data of them is made of. A problem is a function of (kind, split, seed, index) alone. About a tenth
// of all operand tuples, by a hash that knows no seed, belongs to the split `test`; the others to `train`: no tuple is
// in both, whatever seeds they are drawn with.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::eval {

enum class Split { train, test };
Split split_of(const std::string& word);  // "train" or "test"; throws invalid

struct Problem {
  std::string question;
  std::string reasoning;  // "12+7=19;19-5=14"; empty where there is nothing to think about
  std::string answer;
  std::string operands;  // the tuple that decides the split: "2:3,4,5"
  // What an assistant writes: <think>reasoning</think>answer, or the answer alone.
  std::string written() const;
};

struct ProblemKind {
  std::string_view name, about;
  Problem (*draw)(Split split, uint64_t seed, int64_t index);
  int64_t longest;  // characters of written(), at most
  bool thinks;      // answers are <think>...</think>answer
};
const std::vector<ProblemKind>& problem_kinds();
const ProblemKind& problem_kind(const std::string& name);  // throws invalid, naming those that there are

// Whether a written answer is the problem's: exactly one </think> where it thinks, nothing before <think>, behind it
// the answer letter by letter, and the end of the text came (an answer that was cut off is never right).
struct ProblemVerdict {
  bool right = false, well_formed = false;
  std::string answer;  // what was taken from the text
  std::string why;
};
ProblemVerdict judge_problem(const ProblemKind& kind, const std::string& expected, const std::string& text, bool ended);

// --- one draw each; the file of the same name ---

Problem word_problem(Split split, uint64_t seed, int64_t index);
Problem arithmetic_problem(Split split, uint64_t seed, int64_t index);
Problem recall_problem(Split split, uint64_t seed, int64_t index);
Problem reading_problem(Split split, uint64_t seed, int64_t index);

// Whether a tuple is withheld for the test.
bool is_test_tuple(std::string_view operands);

}  // namespace hadal::eval
