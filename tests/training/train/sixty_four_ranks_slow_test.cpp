// Sixty-four ranks as threads: sixteen stages, experts over four ranks of each, and what they compute.
#include <gtest/gtest.h>

#include "train/spread_case.h"

namespace hadal {
namespace {

TEST(SixtyFourRanks, ComputeWhatOneRankComputes) {
  LayoutCase c = testing::spread_case("dp=4,pp=16,ep=4", Precision::fp64);
  ASSERT_EQ(c.config.parallel.ranks(), 64);
  c.config.model.n_layers = 16;
  c.lengths = {9, 4, 12, 2, 7, 11, 3, 8, 10, 5, 6, 12, 4, 9, 2, 7};
  const LayoutFindings findings = testing::check_it(c);
  EXPECT_TRUE(findings.agree()) << findings.first;
  EXPECT_GT(findings.rows.size(), 8u);
}

}  // namespace
}  // namespace hadal
