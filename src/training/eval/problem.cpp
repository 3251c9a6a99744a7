#include "eval/problem.h"

#include "base/error.h"
#include "base/hash.h"

namespace hadal::eval {

Split split_of(const std::string& word) {
  check(word == "train" || word == "test", ErrorKind::invalid, "the split '{}' must be train or test", word);
  return word == "train" ? Split::train : Split::test;
}

std::string Problem::written() const {
  return reasoning.empty() ? answer : "<think>" + reasoning + "</think>" + answer;
}

bool is_test_tuple(std::string_view operands) { return hash64(operands, 20) % 10 == 0; }

const std::vector<ProblemKind>& problem_kinds() {
  static const std::vector<ProblemKind> kinds = {
      {"word_problems", "stories of two steps of arithmetic, with reasoning", word_problem, 48, true},
      {"arithmetic", "sums, differences and products of two numbers", arithmetic_problem, 4, false},
      {"recall", "which of eight things that were just said belongs to a name", recall_problem, 12, false},
      {"reading", "questions on a short text, a quarter of which it does not answer", reading_problem, 40, false}};
  return kinds;
}

const ProblemKind& problem_kind(const std::string& name) {
  std::string known;
  for (const ProblemKind& kind : problem_kinds()) {
    if (kind.name == name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  fail(ErrorKind::invalid, "there is no kind of problems '{}'; there are: {}", name, known);
}

namespace {

size_t count_of(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

}  // namespace

ProblemVerdict judge_problem(const ProblemKind& kind, const std::string& expected, const std::string& text,
                             bool ended) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  ProblemVerdict verdict;
  verdict.answer = text;
  if (!ended) verdict.why = "cut off before its end";
  if (kind.thinks) {
    const size_t close = text.find(kClose);
    if (close != std::string::npos) verdict.answer = text.substr(close + kClose.size());
    if (count_of(text, kClose) != 1 || count_of(text, kOpen) != 1 || !text.starts_with(kOpen))
      verdict.why = "not one <think>...</think> at the beginning";
    else if (verdict.answer.empty())
      verdict.why = "nothing behind </think>";
  } else if (text.empty()) {
    verdict.why = "nothing was written";
  }
  verdict.well_formed = verdict.why.empty();
  verdict.right = verdict.well_formed && verdict.answer == expected;
  if (verdict.well_formed) verdict.why = verdict.right ? "letter by letter" : "another answer";
  return verdict;
}

}  // namespace hadal::eval
