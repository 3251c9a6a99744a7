// Mathematical answers: which are equal, what is taken from a text, and that hostile ones end at once. `theirs` is the
// verdict of math-verify 0.9.0; where it differs, the difference is meant.
#include <gtest/gtest.h>

#include "grading/maths_answer.h"
#include "grading/maths_equal.h"
#include "grading/maths_value.h"

namespace hadal::grading {
namespace {

struct Vector {
  const char *gold, *answer;
  bool ours, theirs;
};

const Vector kVectors[] = {
    {"72", "72", true, true},
    {"1/2", "0.5", true, true},
    {"\\frac{1}{2}", "\\frac12", true, true},
    {"\\frac{3}{4}", "\\tfrac{6}{8}", true, true},
    {"0.333333", "\\frac{1}{3}", false, true},
    {"3/7", "0.428571", false, true},
    {"1,234", "1234", true, true},
    {"1234", "1{,}234", true, true},
    {"12,345", "12345.0", true, true},
    {"1000", "1 000", true, false},
    {"1000", "10000", false, false},
    {"-5", "\u22125", true, true},
    {"5", "+5", true, true},
    {"5", "--5", false, true},
    {"7", "7.", true, false},
    {"0.4", ".4", true, true},
    {"42", "042", true, true},
    {"50\\%", "0.5", true, true},
    {"50", "50\\%", true, true},
    {"50", "0.5", false, false},
    {"0.05", "5\\%", true, true},
    {"10", "10\\text{ cm}", true, true},
    {"10", "\\$10", true, true},
    {"10", "10 dollars", true, false},
    {"10", "\\text{cm } 10", true, false},
    {"5\\text{ m}", "5\\text{ km}", false, true},
    {"90", "90^\\circ", true, true},
    {"\\frac{\\pi}{2}", "90^\\circ", false, false},
    {"(1,2)", "(1, 2)", true, true},
    {"(1,2)", "(2,1)", false, false},
    {"\\{1,2\\}", "\\{2,1\\}", true, true},
    {"1,2", "2,1", true, true},
    {"\\{1,2\\}", "\\{1,2,2\\}", true, true},
    {"(-\\infty,3]", "x\\le 3", false, false},
    {"204_5", "204", false, true},
    {"\\sqrt2", "1.41", false, false},
    {"[0,1)", "[0,1)", true, true},
    {"[0,1)", "(0,1)", false, false},
    {"[0,1)", "0\\le x<1", false, false},
    {"0\\le x<1", "[0,1)", true, true},
    {"(0.6,2.5]", "(\\frac{3}{5},\\frac52]", true, true},
    {"(-1,0)\\cup(0,1)", "(0,1)\\cup(-1,0)", true, true},
    {"x=5", "5", true, true},
    {"5", "x=5", true, true},
    {"x=5", "y=5", false, false},
    {"2x+1=0", "x=-\\frac12", true, false},
    {"\\sqrt{8}", "2\\sqrt{2}", true, true},
    {"\\sqrt2", "1.414213", false, false},
    {"3\\pm\\sqrt2", "3-\\sqrt2,3+\\sqrt2", true, true},
    {"2^{10}", "1024", true, true},
    {"10!", "3628800", true, true},
    {"1e3", "1000", true, false},
    {"1.5\\times10^3", "1500", true, true},
    {"x^2-1", "(x-1)(x+1)", true, true},
    {"x+y", "y+x", true, true},
    {"\\sin^2 x+\\cos^2 x", "1", true, true},
    {"\\frac{x}{2}", "0.5x", true, true},
    {"1\\frac{1}{2}", "\\frac{3}{2}", true, true},
    {"2:3", "\\frac23", false, true},
    {"2:3", "4:6", false, true},
    {"\\text{C}", "(C)", true, true},
    {"C", "c", false, true},
    {"\\text{Evelyn}", "Evelyn", true, true},
    {"\\text{yes}", "no", false, false},
    {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}", true, true},
    {"1", "\\frac{0}{0}", false, false},
    {"", "", false, false},
    {"0", "", false, false},
    {"7", "7 or 8", false, false},
    {"7", "7,8", false, false},
    {"1-\\frac1e", "1+\\frac1e", false, false},
    {"12:00", "1:00", false, false},
};

TEST(Maths, EveryVectorHasItsVerdict) {
  int64_t differing = 0;
  for (const Vector& v : kVectors) {
    EXPECT_EQ(maths_equal(v.gold, v.answer), v.ours) << "'" << v.gold << "' and '" << v.answer << "'";
    differing += v.ours != v.theirs;
  }
  EXPECT_EQ(std::size(kVectors), 72u);
  EXPECT_EQ(differing, 14);
}

TEST(Maths, FurtherFormsHaveTheirVerdictsToo) {
  const std::pair<const char*, const char*> equal[] = {{"\\frac{\\sqrt{3}}{2}", "\\sqrt{3}/2"},
                                                       {"\\sqrt[3]{8}", "2"},
                                                       {"4^{1/2}", "2"},
                                                       {"\\log_2 8", "3"},
                                                       {"x<5", "5>x"},
                                                       {"x \\in [0,1)", "[0,1)"},
                                                       {"\\frac{1}{x}", "x^{-1}"},
                                                       {"(x+1)^2", "x^2+2x+1"},
                                                       {"y=2x+1", "2x+1"},
                                                       {"1 1/2", "1.5"},
                                                       {"2\\pi r", "2 \\pi r"},
                                                       {"|{-3}|", "3"},
                                                       {"\\frac12\\%", "0.005"},
                                                       {"x=2,x=3", "3, 2"},
                                                       {"x=1\\pm\\sqrt2", "1+\\sqrt2,1-\\sqrt2"},
                                                       {"\\emptyset", "\\{\\}"},
                                                       {"1,234,567", "1234567"},
                                                       {"(1,2,3)", "(1,2,3)"},
                                                       {"5 \\text{ cm}", "5\\text{ cm}"},
                                                       {"\\text{blue whale}", "blue whale"},
                                                       {"2^{-3}", "0.125"},
                                                       {"\\frac{a}{b}", "a/b"},
                                                       {"-\\frac{1}{2}", "\\frac{-1}{2}"},
                                                       {"$12$", "12"},
                                                       {"0.1+0.2", "0.3"},
                                                       {"\\text{1}", "1"}};
  for (const auto& [gold, answer] : equal) EXPECT_TRUE(maths_equal(gold, answer)) << gold << " and " << answer;
  const std::pair<const char*, const char*> different[] = {{"\\sqrt{x^2}", "x"},
                                                           {"x^2", "x^3"},
                                                           {"x+1", "x-1"},
                                                           {"x<5", "x\\le5"},
                                                           {"x<5", "x>5"},
                                                           {"2x<4", "-2x<-4"},
                                                           {"(1,2,3)", "(1,3,2)"},
                                                           {"\\{1,2\\}", "\\{1,3\\}"},
                                                           {"\\sqrt2", "1.41421356237309504880168872420969807"},
                                                           {"\\frac{1}{3}", "0.333333333333333333333333333333333"},
                                                           {"1,2", "1"},
                                                           {"5 \\text{ cm}", "5 \\text{ m}"},
                                                           {"a", "A"},
                                                           {"cat", "act"},
                                                           {"7", "7 8"},
                                                           {"12", "1\\cdot 2"},
                                                           {"\\ln x", "\\log x"},
                                                           {"1", "1:1"},
                                                           {"x", "5"}};
  for (const auto& [gold, answer] : different) EXPECT_FALSE(maths_equal(gold, answer)) << gold << " and " << answer;
}

TEST(Maths, HostileAnswersEndAtOnceAndEqualNothing) {
  std::vector<std::string> hostile = {"5^(5^(5^(5^5)))",
                                      "9!!!!!",
                                      "10^{10^{10}}",
                                      std::string(10'000, '('),
                                      std::string(1 << 20, '9'),
                                      "\\frac{1}{0}",
                                      "\\sqrt[0]{2}",
                                      "x^{x^{x}}",
                                      "\\sum_{i=1}^{10^{12}} i",
                                      "{{{",
                                      "}",
                                      "\\boxed{",
                                      "5\u202e7",
                                      "5\u200b",
                                      std::string("5\0", 2),
                                      "2^{99999}^{99999}",
                                      "0^0",
                                      "1e999999",
                                      "\\sqrt[999999999999]{2}",
                                      "(((((((1^2)^999)^999)^999)^999)^999)^999)",
                                      "\\log 0",
                                      "\\frac",
                                      "\\begin{pmatrix}",
                                      std::string(60, '-') + "5",
                                      std::string(4000, '1') + "/3",
                                      "\xff\xfe",
                                      "5;;;5",
                                      ",,,"};
  std::string nested = "x";
  for (int i = 0; i < 40; ++i) nested = "(" + nested + ")^{9}";
  hostile.push_back(nested);
  std::string many;
  for (int i = 0; i < 700; ++i) many += "1,";
  hostile.push_back(many + "1");
  for (const std::string& answer : hostile) {
    EXPECT_FALSE(maths_equal("5", answer)) << answer.substr(0, 60);
    EXPECT_FALSE(maths_equal(answer, "5")) << answer.substr(0, 60);
    compare_maths(answer, answer);
  }
}

TEST(Maths, AnswersAreTakenFromTheLastBoxBehindTheThought) {
  const auto answer = [](const std::string& text) { return extract_maths(text).answer; };
  EXPECT_EQ(answer("so \\boxed{1} and \\boxed{\\frac{1}{2}} it is"), "\\frac{1}{2}");
  EXPECT_EQ(answer("<think>\\boxed{3}</think> \\fbox{4}"), "4");
  EXPECT_FALSE(extract_maths("<think>\\boxed{3}</think> hm").found);
  EXPECT_EQ(answer("\\boxed{\\{1,2\\}}"), "\\{1,2\\}");
  EXPECT_FALSE(extract_maths("\\boxed{7} or \\boxed{8}").found);
  EXPECT_FALSE(extract_maths("\\boxed{7} \\text{ or } \\boxed{8}").found);
  EXPECT_TRUE(extract_maths("\\boxed{7} or rather \\boxed{8}").found);
  EXPECT_TRUE(extract_maths("\\boxed{7} or \\boxed{7}").found);
  EXPECT_EQ(answer("The answer is 12.5. Then more"), "12.5");
  EXPECT_EQ(answer("answer is 3\nthe Answer is: $4$"), "$4$");
  EXPECT_FALSE(extract_maths("12").found);
  EXPECT_FALSE(extract_maths("\\boxed{7").found);
  EXPECT_EQ(extract_maths("").answer, "");
}

}  // namespace
}  // namespace hadal::grading
