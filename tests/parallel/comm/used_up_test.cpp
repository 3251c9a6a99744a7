// Memory that a rank has no more use for travels as it lies: without a copy, and alive until all have read it.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "comm/group.h"
#include "comm/rank_threads.h"

namespace hadal {
namespace {

MutableBytes bytes(std::vector<float>& values, size_t begin, size_t count) {
  return std::as_writable_bytes(std::span(values).subspan(begin, count));
}

class UsedUp : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, UsedUp, testing::Values(2, 3, 8));

TEST_P(UsedUp, SharesAreAddedIntoMemoryOfTheirOwnAndLiveUntilAllHaveThem) {
  const int n = GetParam();
  const size_t each = 1300;  // more than a block of the sum
  std::atomic<int> alive = 0;
  run_rank_threads(n, [&](std::shared_ptr<Transport> transport) {
    Group group(transport, "all");
    ++alive;
    std::shared_ptr<std::vector<float>> values(new std::vector<float>(each * size_t(n), 1.0f + float(group.rank())),
                                               [&](std::vector<float>* v) { delete v, --alive; });
    std::vector<Share> shares;
    for (int r = 0; r < n; ++r) shares.push_back({bytes(*values, size_t(r) * each, each)});
    std::vector<float> sums(each);
    LeavingShares leaving = group.begin_reduce_scatter(DType::f32, shares, values, {bytes(sums, 0, each)});
    for (int r = 0; r < n; ++r)
      if (r != group.rank()) leaving.leave(r);
    const std::vector<float> before = *values;
    leaving.sums.wait();
    EXPECT_EQ(sums, std::vector<float>(each, float(n * (n + 1) / 2)));
    EXPECT_EQ(*values, before);
    shares.clear(), values.reset(), leaving = {};
    group.barrier();
  });
  EXPECT_EQ(alive, 0);
}

TEST(UsedUp, NothingElseIsSentAsItLies) {
  for (const bool used_up : {false, true}) {
    run_rank_threads(2, [&](std::shared_ptr<Transport> transport) {
      Group group(transport, "all");
      const auto values = std::make_shared<std::vector<float>>(8, 1.0f);
      const std::vector<Share> shares = {{bytes(*values, 0, 4)}, {bytes(*values, 4, 4)}};
      std::shared_ptr<void> owner;
      if (used_up) owner = values;
      std::vector<Ticket> tickets = group.start_all_gather_by_rank(DType::f32, shares, owner);
      for (size_t i = 0; i < 4; ++i)
        (*values)[size_t(group.rank()) * 4 + i] = 2.0f;  // others see it where nothing is copied
      group.barrier();
      for (Ticket& ticket : tickets) ticket.wait();
      EXPECT_EQ((*values)[size_t(1 - group.rank()) * 4], used_up ? 2.0f : 1.0f);
      group.barrier();
    });
  }
}

}  // namespace
}  // namespace hadal
