// hadal check engine says what it found, and by its exit status whether anything differs.
#include "apps/check_engine.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/testing.h"

namespace hadal {
namespace {

using testing::has;

TEST(CheckEngine, ExitsWithOneWhereAnythingDiffers) {
  std::vector<EngineCondition> all = {{"all in one batch", 40, 0, ""}, {"drafts: 1", 40, 0, ""}};
  const auto printed = [&](bool json, int expected) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(print_engine_check(all, json, "a model"), expected);
    return ::testing::internal::GetCapturedStdout();
  };
  EXPECT_TRUE(has(printed(false, 0), "a model: every id and every log-probability is the same, to the bit"));
  EXPECT_FALSE(has(printed(true, 0), "request"));
  all[1].worst = 2.5e-7, all[1].first = "request 3, position 17 (text), from layers.2 on";
  const std::string table = printed(false, 1);
  EXPECT_TRUE(has(table, "2.5e-07  request 3, position 17 (text), from layers.2 on") && has(table, "a model: DIFFERS"))
      << table;
  EXPECT_TRUE(has(printed(true, 1), "\"first\": \"request 3, position 17 (text), from layers.2 on\""));
  all[1].worst = std::numeric_limits<double>::infinity();  // another id
  EXPECT_TRUE(has(printed(true, 1), "\"worst\": null"));
}

}  // namespace
}  // namespace hadal
