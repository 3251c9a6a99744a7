// Collectives over processes have the bits that they have over threads. Each test starts itself again under mpirun.
#include "comm/mpi_transport.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "comm/rank_threads.h"
#include "comm/under_mpirun.h"

namespace hadal {
namespace {

using testing::all_collectives;

// Runs `body` as each of n processes, all in this test's name.
void under_mpirun(int n, const std::function<void(std::shared_ptr<MpiTransport>)>& body) {
  if (started_by_mpi()) return body(MpiTransport::open());
  if (!testing::mpirun_starts()) GTEST_SKIP() << "mpirun starts nothing here (./setup --tests installs it)";
  const testing::Started started = testing::start_again(n);
  EXPECT_EQ(started.code, 0) << started.command << "\n" << started.text;
}

TEST(MpiRanks, CollectivesHaveTheBitsOfThreads) {
  under_mpirun(4, [](std::shared_ptr<MpiTransport> transport) {
    std::vector<std::string> wanted(4);
    run_rank_threads(4, [&](std::shared_ptr<Transport> threads) {
      Group group(threads, "all");
      wanted[size_t(group.rank())] = all_collectives(group);
    });
    Group group(transport, "all");
    EXPECT_EQ(all_collectives(group), wanted[size_t(group.rank())]);
    EXPECT_EQ(transport->size(), 4);
  });
}

TEST(MpiRanks, LongMessagesTravelInSeveralPackets) {
  under_mpirun(2, [](std::shared_ptr<MpiTransport> transport) {
    Group group(transport, "all");
    std::vector<uint8_t> data((size_t(150) << 20) + 13);
    for (size_t i = 0; i < data.size(); i += 4099) data[i] = group.leads() ? uint8_t(i / 4099) : 0;
    group.start_broadcast(0, DType::u8, {std::as_writable_bytes(std::span(data))}).wait();
    for (size_t i = 0; i < data.size(); i += 4099) ASSERT_EQ(data[i], uint8_t(i / 4099)) << i;
    group.barrier();
  });
}

TEST(MpiRanks, ARankThatWaitsForThreeSecondsHardlyUsesACpu) {
  under_mpirun(2, [](std::shared_ptr<MpiTransport> transport) {
    Group group(transport, "all");
    group.barrier();
    const double before = testing::process_seconds();
    if (group.leads()) std::this_thread::sleep_for(std::chrono::seconds(3));
    group.barrier();
    EXPECT_LT(testing::process_seconds() - before, 0.1) << "rank " << group.rank();
  });
}

TEST(MpiRanks, ASecondThreadOfEachRankHasAGroupOfItsOwn) {
  under_mpirun(3, [](std::shared_ptr<MpiTransport> transport) {
    Group own(transport, "own"), beside(transport, "beside");
    std::thread second([&] {
      for (int round = 0; round < 50; ++round)
        EXPECT_EQ(beside.tell(round % 3, fmt::format("{}", round)), fmt::format("{}", round));
    });
    for (int round = 0; round < 50; ++round) own.barrier();
    second.join();
  });
}

TEST(MpiRanks, ManySmallMessagesStayInOrder) {
  under_mpirun(3, [](std::shared_ptr<MpiTransport> transport) {
    Group group(transport, "all");
    for (int64_t round = 0; round < 300; ++round) {
      std::vector<int64_t> value = {round + group.rank()};
      group.start_all_reduce(DType::i64, {std::as_writable_bytes(std::span(value))}).wait();
      ASSERT_EQ(value[0], 3 * round + 3);
    }
  });
}

}  // namespace
}  // namespace hadal
