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
}

TEST(StepWaits, OfAStepAreSharesOfAllRanksTime) {
  RankWaits first{.pipeline = 2, .experts = 1}, second{.pipeline = 4};
  const auto tensor = size_t(TrafficKind::tensor), values = size_t(TrafficKind::values);
  first.travels[tensor] = {4, 1};
  second.travels[tensor] = {2, 2};
  const StepWaits step = shares_of({first, second}, 10);
  EXPECT_DOUBLE_EQ(step.pipeline, 0.3);
  EXPECT_DOUBLE_EQ(step.experts, 0.05);
  EXPECT_DOUBLE_EQ(step.travels[tensor].hidden(), 0.5);
  EXPECT_EQ(step.travels[values].hidden(), 0) << "none came";
}

TEST(StepWaits, TellTheKindsOfTrafficApart) {
  RankTravels travels;
  travels.begin([] { return 0.0; });
  travels.holders.travels = {{"reduce_scatter", 0, 3, 4}, {"all_gather", 0, 2, 4}};
  travels.pipeline.travels = {{"send", 0, 8, 8}};
  travels.tensor.travels = {{"all_gather", 1, 1, 2}};
  RankWaits waits;
  add_travels(travels, waits);
  const auto hidden = [&](TrafficKind kind) { return waits.travels[size_t(kind)].hidden(); };
  EXPECT_DOUBLE_EQ(hidden(TrafficKind::gradients), 0.75);
  EXPECT_DOUBLE_EQ(hidden(TrafficKind::values), 0.5);
  EXPECT_DOUBLE_EQ(hidden(TrafficKind::pipeline), 1);
  EXPECT_DOUBLE_EQ(hidden(TrafficKind::tensor), 0);
  EXPECT_EQ(waits.travels[size_t(TrafficKind::experts)].under_way, 0);
}

}  // namespace
}  // namespace hadal
