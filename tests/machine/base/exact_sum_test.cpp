// Sums without rounding: against integers and long doubles, in any order, split anyhow.
#include "base/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace hadal {
namespace {

double sum_of(const std::vector<double>& values) {
  ExactSum sum;
  for (double value : values) sum.add(value);
  return sum.value();
}

TEST(ExactSum, GivesTheNearestDoubleOfTheTrueSum) {
  EXPECT_EQ(sum_of({}), 0.0);
  EXPECT_EQ(sum_of({1.0, 0x1p-60, -1.0}), 0x1p-60);
  EXPECT_EQ(sum_of({1e300, 1.0, -1e300}), 1.0);
  EXPECT_EQ(sum_of({-3.5}), -3.5);
  EXPECT_EQ(sum_of({0x1p-1074, 0x1p-1074}), 0x1p-1073);
  EXPECT_EQ(sum_of({std::numeric_limits<double>::max()}), std::numeric_limits<double>::max());
  EXPECT_EQ(sum_of({0x1p53, 1.0}), 0x1p53);                  // a tie: to even
  EXPECT_EQ(sum_of({0x1p53, 1.0, 0x1p-1074}), 0x1p53 + 2);   // just above the tie
  EXPECT_EQ(sum_of({0x1p53, 3.0, -0x1p-1074}), 0x1p53 + 2);  // just below the next one
  EXPECT_EQ(sum_of({-0x1p53, -1.0, -0x1p-1074}), -0x1p53 - 2);
}

TEST(ExactSum, DoesNotDependOnOrderOrOnParts) {
  std::vector<double> values;
  for (uint64_t i = 0; i < 3000; ++i)
    values.push_back(std::ldexp(random_normal(1, 2, i), int(random_below(1, 3, i, 400)) - 200));
  const double want = sum_of(values);
  std::reverse(values.begin(), values.end());
  EXPECT_EQ(sum_of(values), want);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(sum_of(values), want);
  ExactSum parts[3], all;
  for (size_t i = 0; i < values.size(); ++i) parts[i % 3].add(values[i]);
  for (const ExactSum& part : parts) all.merge(part);
  EXPECT_EQ(all.value(), want);
  double plain = 0;  // the control: rounding at every step does depend on the order
  for (double value : values) plain += value;
  EXPECT_NE(plain, want);
}

TEST(ExactSum, KeepsWhatIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(sum_of({1, infinity, 2}), infinity);
  EXPECT_TRUE(std::isnan(sum_of({infinity, -infinity})));
  EXPECT_TRUE(std::isnan(sum_of({1, std::nan("")})));
}

}  // namespace
}  // namespace hadal
