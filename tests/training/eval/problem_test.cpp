// Problems from seeds: right, in their ranges, and no tuple of the test among those of training.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/expect_error.h"
#include "eval/problem.h"
#include "eval/problem_tasks.h"

namespace hadal::eval {
namespace {

// What a line of reasoning "12+7=19" says of numbers; false where it is wrong.
bool holds(const std::string& step) {
  const size_t sign = step.find_first_of("+-*/", 1), equal = step.find('=');
  const long a = std::stol(step.substr(0, sign)), b = std::stol(step.substr(sign + 1)),
             c = std::stol(step.substr(equal + 1));
  switch (step[sign]) {
    case '+': return a + b == c;
    case '-': return a - b == c;
    case '*': return a * b == c;
    default: return a % b == 0 && a / b == c;
  }
}

TEST(Problems, AreAFunctionOfSplitSeedAndIndex) {
  for (const ProblemKind& kind : problem_kinds()) {
    const Problem one = kind.draw(Split::test, 7, 12), again = kind.draw(Split::test, 7, 12);
    EXPECT_EQ(one.question, again.question);
    EXPECT_EQ(one.written(), again.written());
    EXPECT_NE(one.question + one.answer, kind.draw(Split::test, 8, 12).question) << kind.name;
    EXPECT_NE(one.question, kind.draw(Split::test, 7, 17).question) << kind.name;
  }
}

TEST(Problems, OfTheTestHaveOperandsThatTrainingNeverSees) {
  for (const ProblemKind& kind : problem_kinds()) {
    std::set<std::string> train, test;
    for (int64_t i = 0; i < 4000; ++i) train.insert(kind.draw(Split::train, uint64_t(i % 3), i).operands);
    for (int64_t i = 0; i < 400; ++i) test.insert(kind.draw(Split::test, uint64_t(i % 5), i).operands);
    for (const std::string& tuple : test) EXPECT_FALSE(train.contains(tuple)) << tuple;
    const auto withheld = std::count_if(train.begin(), train.end(), [](const auto& t) { return is_test_tuple(t); });
    EXPECT_EQ(withheld, 0);
    EXPECT_GT(test.size(), 15u) << kind.name;
  }
  int64_t n_test = 0;
  for (int a = 0; a < 10'000; ++a) n_test += is_test_tuple("tuple:" + std::to_string(a));
  EXPECT_NEAR(double(n_test), 1000, 120);
}

TEST(Problems, OfWordsReasonInTwoStepsThatAreTrue) {
  int64_t counts[5] = {};
  for (int64_t i = 0; i < 500; ++i) {
    const Problem p = word_problem(i % 2 == 0 ? Split::train : Split::test, 3, i);
    const size_t semicolon = p.reasoning.find(';');
    ASSERT_NE(semicolon, std::string::npos);
    EXPECT_TRUE(holds(p.reasoning.substr(0, semicolon))) << p.reasoning;
    EXPECT_TRUE(holds(p.reasoning.substr(semicolon + 1))) << p.reasoning;
    EXPECT_EQ(p.reasoning.substr(p.reasoning.rfind('=') + 1), p.answer);
    EXPECT_GE(std::stol(p.answer), 1) << p.question;
    EXPECT_LE(int64_t(p.written().size()), problem_kind("word_problems").longest);
    ++counts[p.operands[4] - '1'];
    EXPECT_TRUE(judge_problem(problem_kind("word_problems"), p.answer, p.written(), true).right);
  }
  for (const int64_t count : counts) EXPECT_EQ(count, 100);
}

// The answer is a sentence of the text about whom the question names, or the text says nothing of what is asked.
TEST(Problems, OfReadingAreAnsweredByTheTextOrBySayingSo) {
  const std::pair<const char*, const char*> asked_and_told[] = {
      {"live?", " lives in "}, {"work as?", " works as a "}, {"What pet has ", " has a "}, {"like?", " likes "}};
  int64_t unknown = 0;
  for (int64_t i = 0; i < 400; ++i) {
    const Problem p = reading_problem(i % 2 == 0 ? Split::train : Split::test, 5, i / 2);
    const size_t end = p.question.rfind(". ") + 2;
    const std::string text = p.question.substr(0, end), question = p.question.substr(end);
    const std::string name =
        p.operands.substr(p.operands.find(',') + 1, p.operands.rfind(',') - p.operands.find(',') - 1);
    EXPECT_NE(question.find(name), std::string::npos) << p.question;
    EXPECT_NE(text.find(name), std::string::npos) << "asked of somebody who is not in the text: " << p.question;
    size_t kinds = 0;
    for (const auto& [ask, tell] : asked_and_told) {
      if (question.find(ask) == std::string::npos) continue;
      ++kinds;
      const size_t said = text.find(name + tell);
      if (p.answer == "I don't know.") {
        ++unknown;
        EXPECT_EQ(said, std::string::npos) << p.question;
      } else {
        ASSERT_NE(said, std::string::npos) << p.question;
        EXPECT_EQ(p.answer, text.substr(said, text.find('.', said) + 1 - said));
      }
    }
    EXPECT_EQ(kinds, 1u) << question;
    EXPECT_LE(int64_t(p.written().size()), problem_kind("reading").longest);
  }
  EXPECT_EQ(unknown, 100);
}

TEST(Problems, AreJudgedByTheWholeForm) {
  const ProblemKind& kind = problem_kind("word_problems");
  const auto right = [&](const std::string& text, bool ended = true) {
    return judge_problem(kind, "14", text, ended).right;
  };
  EXPECT_TRUE(right("<think>12+7=19;19-5=14</think>14"));
  EXPECT_TRUE(right("<think></think>14"));
  for (const char* const wrong :
       {"14", "<think>14", "</think>14", "<think>a</think>b</think>14", "<think>a</think> 14", "<think>a</think>14 ",
        "<think>a</think>", "x<think>a</think>14", "<think><think>a</think>14", "<think>a</think>15"})
    EXPECT_FALSE(right(wrong)) << wrong;
  EXPECT_FALSE(right("<think>a</think>14", false)) << "an answer that was cut off";
  EXPECT_TRUE(judge_problem(kind, "14", "<think>a</think>15", true).well_formed);
  EXPECT_FALSE(judge_problem(kind, "14", "<think>a</think>14", false).well_formed);
  EXPECT_TRUE(judge_problem(problem_kind("arithmetic"), "14", "14", true).right);
}

TEST(Problems, BecomeLinesOfTrainingData) {
  const Problem p = word_problem(Split::train, 1, 0);
  EXPECT_EQ(problem_line(p), R"({"messages":[{"role":"user","content":")" + p.question +
                                 R"("},{"role":"assistant","content":")" + p.written() + "\"}]}\n");
  EXPECT_ERROR(problem_kind("algebra"), ErrorKind::invalid, "word_problems, arithmetic, recall");
  EXPECT_ERROR(split_of("dev"), ErrorKind::invalid, "train or test");
}

}  // namespace
}  // namespace hadal::eval
