// What ranks waited in a step, from what each did when.
#include "train/step_trace.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

PieceEvent event(const char* piece, double begin, double end) { return {.piece = piece, .begin = begin, .end = end}; }
PieceEvent traffic(const char* piece, double begin, double end, bool starts = false, bool ends = false) {
  return {.piece = piece, .traffic = true, .starts = starts, .ends = ends, .begin = begin, .end = end};
}

TEST(StepWaits, AreTimesOfTrafficPiecesAndOfReceives) {
  const RankWaits waits =
      waits_of({traffic("receive", 0, 2), event("attention", 2, 5), traffic("dispatch start", 5, 6, true),
                event("experts", 6, 9), traffic("dispatch wait", 9, 10, false, true), traffic("gradients", 10, 15)});
  EXPECT_EQ(waits.pipeline, 2);
  EXPECT_EQ(waits.data, 5);
  EXPECT_EQ(waits.experts, 1);
  EXPECT_EQ(waits.under_way, 4) << "from when they had left to when they were here";
}

TEST(StepWaits, OfAStepAreSharesOfAllRanksTime) {
  const StepWaits step = shares_of({{.pipeline = 2, .experts = 1, .under_way = 4}, {.pipeline = 4}}, 10);
  EXPECT_DOUBLE_EQ(step.pipeline, 0.3);
  EXPECT_DOUBLE_EQ(step.experts, 0.05);
  EXPECT_DOUBLE_EQ(step.hidden, 0.75) << "a rank without such rows does not count";
  EXPECT_EQ(shares_of({{}, {}}, 10).hidden, 0);
}

}  // namespace
}  // namespace hadal
