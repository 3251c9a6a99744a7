// Forty drawn layouts in FP8 compute what one rank computes; twelve of them run in `make test` (RandomLayouts).
#include <gtest/gtest.h>

#include "apps/command.h"

namespace hadal {
namespace {

TEST(FortyLayoutsInFp8, ComputeWhatOneRankComputes) {
  const auto result = run_hadal("check layouts --random 40 --seed 1 --quiet --precision fp8", "timeout 800");
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("40 of 40 layouts compute what one rank computes"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace hadal
