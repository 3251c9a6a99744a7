// What of the time that something is under way a rank waits.
#include "comm/travel.h"

#include <gtest/gtest.h>

#include "comm/group.h"
#include "comm/rank_threads.h"
#include "comm/virtual_clock.h"

namespace hadal {
namespace {

TEST(Travel, WhatIsUnderWayTogetherCountsOnce) {
  // Three shares of one gather, waited for one after the other: the first wait was for all of them.
  const TravelTimes gather = times_of({{"", 0, 0, 2}, {"", 0, 2, 2}, {"", 0, 2, 2}});
  EXPECT_DOUBLE_EQ(gather.under_way, 2);
  EXPECT_DOUBLE_EQ(gather.waited, 2);
  EXPECT_DOUBLE_EQ(gather.hidden(), 0);
  // Two that overlap, and one later, each with a second of waiting.
  const TravelTimes apart = times_of({{"", 10, 12, 13}, {"", 0, 2, 3}, {"", 1, 4, 5}});
  EXPECT_DOUBLE_EQ(apart.under_way, 5 + 3);
  EXPECT_DOUBLE_EQ(apart.hidden(), 1 - 3.0 / 8);
  EXPECT_EQ(times_of({}).hidden(), 0);
}

TEST(Travel, WaitingForWhatHasNotLeftIsNotTheTraffics) {
  const TravelTimes late = times_of({{"send", 5, 2, 6}});
  EXPECT_DOUBLE_EQ(late.under_way, 1);
  EXPECT_DOUBLE_EQ(late.waited, 1);
  const TravelTimes ahead = times_of({{"send", 7, 2, 6}});  // of a clock that is not quite the same
  EXPECT_DOUBLE_EQ(ahead.under_way, 0);
  EXPECT_DOUBLE_EQ(ahead.waited, 0);
}

// Three seconds under way, of which the rank computes two: in a collective from its own start, of a send from when the
// other sent it.
TEST(Travel, GroupsNoteWhatComesToThem) {
  run_rank_threads(2, [](std::shared_ptr<Transport> transport) {
    VirtualClock clock;
    Group group(on_clock(transport, clock, [](int, int) { return LinkSpeed{3, 0}; }), "all");
    TravelLog log{.now = [&] { return clock.now(); }};
    std::vector<std::byte> bytes(8);
    group.start_broadcast(0, DType::u8, {bytes}).wait();  // not noted yet
    group.watch(&log);
    clock.wait_until(100);  // the same on both
    const double begin = clock.now();
    Ticket sums = group.start_all_reduce(DType::f32, {bytes});
    clock.advance(2);
    sums.wait();
    ASSERT_EQ(log.travels.size(), 1u);
    EXPECT_STREQ(log.travels[0].operation, "all_reduce");
    EXPECT_DOUBLE_EQ(log.travels[0].left, begin);
    EXPECT_DOUBLE_EQ(log.travels[0].asked, begin + 2);
    clock.wait_until(200);
    LeavingShares shares = group.begin_reduce_scatter(DType::f32, {{bytes}, {bytes}});
    clock.advance(1);
    const double left = clock.now();
    shares.leave(1 - group.rank());
    clock.advance(2);
    shares.sums.wait();
    EXPECT_DOUBLE_EQ(log.travels[1].left, left);
    EXPECT_NEAR(times_of({log.travels[1]}).hidden(), 2.0 / 3, 1e-9);
    clock.wait_until(300);
    if (group.rank() == 0) return group.send(1, DType::u8, {bytes});
    clock.advance(2);
    group.start_receive(0, DType::u8, {bytes}).wait();
    EXPECT_STREQ(log.travels[2].operation, "send");
    EXPECT_DOUBLE_EQ(log.travels[2].left, 300);
    EXPECT_DOUBLE_EQ(log.travels[2].asked, 302);
    EXPECT_DOUBLE_EQ(log.travels[2].here, 303);
    group.watch(nullptr);
  });
}

}  // namespace
}  // namespace hadal
