// Statistics of scores, against figures worked out elsewhere.
#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "grading/statistics.h"
#include "grading/votes.h"

namespace hadal::grading {
namespace {

TEST(Statistics, PassAtKIsTheUnbiasedEstimate) {
  EXPECT_NEAR(pass_at_k(8, 3, 1), .375, 1e-9);
  EXPECT_NEAR(pass_at_k(8, 3, 2), .64285714, 1e-8);
  EXPECT_EQ(pass_at_k(8, 3, 8), 1);
  EXPECT_NEAR(pass_at_k(16, 4, 8), .96153846, 1e-8);
  EXPECT_EQ(pass_at_k(16, 0, 8), 0);
  EXPECT_NEAR(pass_at_k(200, 13, 10), .49755111, 1e-8);
  EXPECT_ERROR(pass_at_k(4, 2, 5), ErrorKind::invalid, "pass@5");
  EXPECT_ERROR(pass_at_k(4, 5, 1), ErrorKind::invalid, "5 right samples");
}

TEST(Statistics, ErrorsAreThoseOfSamples) {
  const std::vector<double> scores = {1, 0, 0, 1};
  EXPECT_NEAR(*standard_error(scores), 0.288675135, 1e-9);
  EXPECT_FALSE(standard_error(std::vector<double>{1}).has_value());
  EXPECT_EQ(mean_of({}), 0);
  const Ratio equal = ratio_of(std::vector<double>{2, 4, 6}, std::vector<double>{1, 2, 3});
  EXPECT_EQ(equal.value, 2);
  EXPECT_EQ(*equal.error, 0);
  const Ratio even = ratio_of(scores, std::vector<double>{1, 1, 1, 1});  // then it is the mean's
  EXPECT_NEAR(*even.error, 0.288675135, 1e-9);
}

TEST(Statistics, PairsOfZerosAndOnesAreTestedExactly) {
  std::vector<double> a(20, 0), b(20, 0);
  for (size_t i = 0; i < 9; ++i) b[i] = 1;  // nine gained, one lost: 2 * (1 + 10) / 2^10
  a[15] = 1;
  const PairedTest test = paired_test(a, b);
  EXPECT_TRUE(test.exact);
  EXPECT_EQ(test.gained, 9);
  EXPECT_EQ(test.lost, 1);
  EXPECT_NEAR(test.p, 22.0 / 1024, 1e-12);
  EXPECT_NEAR(test.difference, 0.4, 1e-12);
  EXPECT_LT(test.low, 0.4);
  EXPECT_GT(test.high, 0.4);
  EXPECT_EQ(paired_test(a, a).p, 1);
  EXPECT_ERROR(paired_test(a, std::vector<double>(3)), ErrorKind::invalid, "20 and 3");
}

TEST(Statistics, PairsOfOtherNumbersAreTestedByChangesOfSign) {
  std::vector<double> a, b;
  for (int i = 0; i < 40; ++i) a.push_back(0.1 * i), b.push_back(0.1 * i + 0.05 + 0.01 * (i % 3));
  EXPECT_FALSE(paired_test(a, b).exact);
  EXPECT_LT(paired_test(a, b).p, 0.001);
  for (size_t i = 0; i < b.size(); i += 2) b[i] = a[i] - (b[i] - a[i]);
  EXPECT_GT(paired_test(a, b).p, 0.1);
}

TEST(Statistics, MajoritiesCountEqualAnswersAndNotTexts) {
  const SameAnswer same = [](const std::string& a, const std::string& b) { return std::stod(a) == std::stod(b); };
  EXPECT_EQ(majority({{"2"}, {"1"}, {"2.0"}, {"1"}, {"02"}}, same), 0);
  EXPECT_EQ(majority({{"3"}, {"1"}, {"1.0"}, {"3.0"}}, same), 0);   // the first of equally many
  EXPECT_EQ(majority({{"", false}, {"", false}, {"7"}}, same), 2);  // no answer never wins
  EXPECT_EQ(majority({{"", false}}, same), -1);
  EXPECT_EQ(majority({}, same), -1);
}

}  // namespace
}  // namespace hadal::grading
