#include "base/lane.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "base/exec.h"

namespace hadal {
namespace {

TEST(Lane, LendsTheSameMemoryAgainAndAllocatesNothing) {
  const auto memory = MemoryPool::create();
  Lane lane(2, memory);
  const char* first = Workspace(lane, 5000).data;
  const size_t reserved = memory->bytes_reserved();
  for (int64_t bytes : {5000, 64, 0, 4999}) EXPECT_EQ(Workspace(lane, bytes).data, first);
  EXPECT_EQ(memory->bytes_reserved(), reserved);
}

TEST(Lane, LendsTwoOperationsMemoryOfTheirOwn) {
  Lane lane(1, MemoryPool::create());
  for (int round = 0; round < 3; ++round) {
    const Workspace outer(lane, 1000);
    std::memset(outer.data, 1, 1000);
    const Workspace inner(lane, 100000);
    std::memset(inner.data, 2, 100000);
    for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(outer.data[i], 1);
  }
}

TEST(Lane, ServesOperationsInsideItsTasksAtOnce) {
  Lane lane(4, MemoryPool::create());
  std::atomic<int> wrong{0};
  lane.parallel_for(400, [&](int64_t task, int) {
    const int64_t bytes = 100 + task % 7 * 1000;
    const Workspace space(lane, bytes);
    std::memset(space.data, int(task % 100), size_t(bytes));
    for (int64_t i = 0; i < bytes; ++i) wrong += space.data[i] != char(task % 100);
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Lane, GivesVeryLargeWorkspaceBackToTheMemoryPool) {
  const auto memory = MemoryPool::create();
  Lane lane(1, memory);
  { const Workspace large(lane, Lane::kKept + 1); }
  EXPECT_EQ(memory->bytes_in_use(), 0u);
  { const Workspace kept(lane, Lane::kKept); }
  EXPECT_EQ(memory->bytes_in_use(), size_t(Lane::kKept));
}

TEST(Exec, HasALaneForWorkAndOneForTraffic) {
  const OwnedExec owned(3);
  EXPECT_EQ(owned.exec.compute->n_threads(), 3);
  EXPECT_EQ(owned.exec.traffic->n_threads(), 1);
  EXPECT_EQ(device_name(owned.exec.device), "cpu");
  EXPECT_EQ(device_name({DeviceKind::cuda, 2}), "cuda:2");
}

}  // namespace
}  // namespace hadal
