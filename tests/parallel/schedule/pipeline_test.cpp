// What a schedule asks of ranks and micro-batches, and the short lists of those whose micro-batches go one way.
#include "schedule/pipeline.h"

#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "schedule/list_text.h"

namespace hadal {
namespace {

using enum ScheduleKind;

TEST(Pipeline, NumbersThatDoNotFitAreRefusedWithTheNearestThatDo) {
  const auto refused = ErrorKind::invalid;
  EXPECT_ERROR(make_plan({dualpipe, 7, 20}), refused, "even number of ranks", "got 7", "6 and 8 are the nearest");
  EXPECT_ERROR(make_plan({dualpipe, 1, 20}), refused, "dualpipe over 1 ranks: it needs 2 or more");
  EXPECT_ERROR(make_plan({dualpipe, 8, 12}), refused, "needs 16 micro-batches or more", "got 12", "enough for 6 ranks");
  EXPECT_ERROR(make_plan({dualpipe, 8, 14}), refused, "got 14", "enough for 6 ranks");
  EXPECT_ERROR(make_plan({dualpipe, 8, 21}), refused, "even number of micro-batches", "got 21",
               "20 and 22 are the nearest");
  EXPECT_ERROR(make_plan({dualpipe, 16, 24}), refused, "needs 32 micro-batches or more", "got 24");
  EXPECT_ERROR(make_plan({dualpipev, 4, 7}), refused, "needs 8 micro-batches or more", "got 7", "enough for 3 ranks");
  EXPECT_ERROR(make_plan({dualpipev, 4, 1}), refused, "needs 8 micro-batches or more", "got 1");
  for (ScheduleKind kind : {one_f_one_b, interleaved, zb1p, dualpipev}) {
    const int64_t chunks = kind == interleaved ? 2 : 1;
    EXPECT_ERROR(make_plan({kind, 0, 8, chunks}), refused, "over 0 ranks: it needs 1 or more");
    EXPECT_ERROR(make_plan({kind, -4, 8, chunks}), refused, "over -4 ranks: it needs 1 or more");
    EXPECT_ERROR(make_plan({kind, 4, 0, chunks}), refused, "with 0 micro-batches: it needs");
  }
  EXPECT_ERROR(make_plan({interleaved, 4, 10, 2}), refused, "a multiple of 4", "got 10", "8 and 12 are the nearest");
  EXPECT_ERROR(make_plan({interleaved, 4, 3, 2}), refused, "got 3", "4 is the nearest");
  EXPECT_ERROR(make_plan({interleaved, 4, 8, 1}), refused, "over 1 chunks", "2 or more");
  EXPECT_ERROR(make_plan({zb1p, 4, 8, 2}), refused, "zb1p has no chunks to choose and got 2");
  EXPECT_ERROR(make_plan({one_f_one_b, int64_t(1) << 40, 8}), refused, "1099511627776", "4194304 is the most");
  EXPECT_ERROR(make_plan({one_f_one_b, 4096, 4096}), refused, "4096 stages x 4096 micro-batches");
}

TEST(Pipeline, SchedulesHaveNames) {
  for (const std::string& name : schedule_names()) EXPECT_EQ(schedule_name(schedule_named(name)), name);
  EXPECT_ERROR(schedule_named("dualpip"), ErrorKind::invalid, "did you mean 'dualpipe'?", "1f1b, interleaved, zb1p");
}

std::vector<std::string> texts(const Pipeline& p) {
  std::vector<std::string> texts;
  for (const Actions& list : make_plan(p).ranks) texts.push_back(list_text(p, list));
  return texts;
}

TEST(OneWay, OneFOneBWrittenOut) {
  EXPECT_EQ(texts({one_f_one_b, 3, 4}), (std::vector<std::string>{"F0 F1 F2 B0 F3 B1 B2 B3", "F0 F1 B0 F2 B1 F3 B2 B3",
                                                                  "F0 B0 F1 B1 F2 B2 F3 B3"}));
  EXPECT_EQ(texts({one_f_one_b, 3, 1}), (std::vector<std::string>(3, "F0 B0")));
}

TEST(OneWay, ZeroBubbleWrittenOut) {
  EXPECT_EQ(texts({zb1p, 3, 4}),
            (std::vector<std::string>{"F0 F1 F2 Bi0 W F3 Bi1 W Bi2 W Bi3 W", "F0 F1 Bi0 F2 Bi1 W F3 Bi2 W Bi3 W W",
                                      "F0 Bi0 F1 Bi1 F2 Bi2 W F3 Bi3 W W W"}));
}

TEST(OneWay, InterleavedWrittenOut) {
  EXPECT_EQ(
      texts({interleaved, 2, 4, 2}),
      (std::vector<std::string>{"F0.0 F0.1 F1.0 F1.1 F0.2 B1.0 F0.3 B1.1 F1.2 B0.0 F1.3 B0.1 B1.2 B1.3 B0.2 B0.3",
                                "F0.0 F0.1 F1.0 B1.0 F1.1 B1.1 F0.2 B0.0 F0.3 B0.1 F1.2 B1.2 F1.3 B1.3 B0.2 B0.3"}));
}

TEST(OneRank, ListsOfTheWholeModelStayAsTheyWere) {
  using enum ActionKind;
  EXPECT_EQ(one_stage(2), (Actions{{forward, 0, 0}, {backward, 0, 0}, {forward, 0, 1}, {backward, 0, 1}}));
  EXPECT_EQ(forward_only(2), (Actions{{forward, 0, 0}, {forward, 0, 1}}));
  EXPECT_EQ(make_plan({one_f_one_b, 1, 3}).ranks[0], one_stage(3));
}

}  // namespace
}  // namespace hadal
