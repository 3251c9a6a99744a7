// What single choices of the recipe are worth at least.
#include "study/product_errors.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(ProductErrors, EveryChoiceOfTheReportIsWorthWhatItSays) {
  const OwnedExec owned(2);
  int64_t bounds = 0;
  for (const ProductRow& row : product_errors(owned.exec)) {
    if (!row.missing.empty()) {
      EXPECT_NE(row.missing.find("fp8.accumulate"), std::string::npos) << row.missing;
      continue;
    }
    EXPECT_GT(row.our_error, 1e-5) << row.what;
    EXPECT_LT(row.our_error, 0.042) << row.what;
    EXPECT_GE(row.ratio(), row.least) << row.what;
    bounds += row.least > 0;
  }
  EXPECT_GE(bounds, 3);
}

// As numpy and torch had it for the same experiments with other draws. Log-normal tokens of sigma 1, 2, 3, 4 in blocks
// of 128 tokens: 3.7, 4.1, 15.9, 40 %, and in rows 3.7 %: heavy tails, so that draws differ. dQ over four draws: with
// E5M6 0.17 .. 0.29 %, with E4M3 1.5 .. 2.1 %.
TEST(ProductErrors, FiguresOfOtherPrograms) {
  const OwnedExec owned(2);
  const auto rows = product_errors(owned.exec);
  const double blocks[] = {0.037, 0.041, 0.159, 0.40};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(rows.at(1 + i).our_error, 0.037, 0.002);
    EXPECT_NEAR(rows.at(1 + i).their_error, blocks[i], (i < 2 ? 0.05 : 0.45) * blocks[i]);
  }
  // A floor of 1e-4 under gradients of deviation 1e-8, 1e-9, 1e-10: 2.7, 12.6, 95 % of the gradients, W's 2.6 % beside.
  const double floored[] = {0.0375, 0.129, 0.95};
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(rows.at(5 + i).their_error, floored[i], 0.05 * floored[i]);
  EXPECT_NEAR(rows.back().our_error, 0.0023, 0.001);
  EXPECT_NEAR(rows.back().their_error, 0.0175, 0.006);
}

}  // namespace
}  // namespace hadal
