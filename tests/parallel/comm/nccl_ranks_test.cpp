// Ranks whose long messages NCCL carries, over stand-ins for CUDA's driver and NCCL (nccl_stand_in/stand_in.h): the
// bits of threads, whatever order messages are asked for in, and what is said where a card or NCCL fails.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <thread>

#include "base/files.h"
#include "base/testing.h"
#include "comm/nccl_transport.h"
#include "comm/nccl_wire.h"
#include "comm/rank_threads.h"
#include "comm/under_mpirun.h"

namespace hadal {
namespace {

using testing::bytes_of;
using testing::has;
using testing::Started;

// Runs `body` as each of n processes with that in their environment; what they said and how they ended.
using Body = std::function<void(std::shared_ptr<NcclTransport>)>;
constexpr NcclOptions kOptions{.silent_seconds = 30, .least_bytes = 100};

Started over_nccl(int n, const Body& body, const std::string& environment = "", const NcclOptions& options = kOptions) {
  if (started_by_mpi()) {
    body(NcclTransport::open(options));
    return {.code = 0, .text = "", .command = ""};
  }
  return testing::start_again(
      n, environment + " LD_LIBRARY_PATH=" HADAL_BINARY_DIR "/tests/nccl_stand_in:$LD_LIBRARY_PATH");
}

class NcclRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!started_by_mpi() && !testing::mpirun_starts())
      GTEST_SKIP() << "mpirun starts nothing here (./setup --tests installs it)";
  }
};

void expect_fine(const Started& started) { EXPECT_EQ(started.code, 0) << started.command << "\n" << started.text; }

TEST_F(NcclRanks, CollectivesHaveTheBitsOfThreads) {
  const testing::TempDir dir;
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    std::vector<std::string> wanted(4);
    run_rank_threads(4, [&](std::shared_ptr<Transport> threads) {
      Group group(threads, "all");
      wanted[size_t(group.rank())] = testing::all_collectives(group);
    });
    Group group(transport, "all");
    EXPECT_EQ(testing::all_collectives(group), wanted[size_t(group.rank())]);
    EXPECT_EQ(transport->name(), "nccl");
  };
  expect_fine(over_nccl(4, body, "HADAL_STAND_IN_LOG='" + (dir / "log") + "'"));
  if (started_by_mpi()) return;
  // to three others: a share to be added up (4000 bytes), a sum, twice that of the all_reduce (500)
  for (int r = 0; r < 4; ++r)
    EXPECT_TRUE(has(read_file(dir / "log"), fmt::format("rank {} sent 12 messages of 27000 bytes\n", r)))
        << read_file(dir / "log");
}

TEST_F(NcclRanks, LongMessagesTravelInPiecesAndBothWaysAtOnce) {
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    Group group(transport, "all");
    const auto byte_at = [](int rank, size_t i) { return uint8_t((i * 2654435761u >> 13) + size_t(rank)); };
    std::vector<std::vector<uint8_t>> all(2, std::vector<uint8_t>(size_t(2 * NcclWire::kStage) + 13));
    for (size_t i = 0; i < all[0].size(); ++i) all[size_t(group.rank())][i] = byte_at(group.rank(), i);
    group.start_all_gather(DType::u8, {{bytes_of(all[0], 0, all[0].size())}, {bytes_of(all[1], 0, all[1].size())}})
        .wait();
    const int other = 1 - group.rank();
    for (size_t i = 0; i < all[0].size(); ++i) ASSERT_EQ(all[size_t(other)][i], byte_at(other, i)) << i;
  };
  expect_fine(over_nccl(2, body));
}

// Every rank sends to every other at once, in two groups from two threads, and asks in an order of its own.
TEST_F(NcclRanks, MessagesOfEqualSizeStayApartWhateverOrderTheyAreAskedForIn) {
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    const auto talk = [&](const std::string& name, int64_t salt) {
      Group group(transport, name);
      constexpr int kRounds = 12;
      const size_t n = size_t(group.size());
      const auto value = [&](int64_t round, size_t from, size_t i) {
        return salt + 1000000 * round + 1000 * int64_t(from) + int64_t(i);
      };
      std::vector<std::vector<int64_t>> rounds(kRounds, std::vector<int64_t>(40 * n));
      std::vector<std::pair<int64_t, Ticket>> tickets;
      for (int64_t round = 0; round < kRounds; ++round) {
        std::vector<int64_t>& values = rounds[size_t(round)];
        std::vector<Share> shares;
        for (size_t r = 0; r < n; ++r) shares.push_back({bytes_of(values, 40 * r, 40)});
        for (size_t i = 0; i < 40; ++i) values[40 * size_t(group.rank()) + i] = value(round, size_t(group.rank()), i);
        tickets.emplace_back(round, group.start_all_gather(DType::i64, shares));
      }
      for (size_t left = kRounds; left > 0; --left) {
        const size_t next = random_below(7, uint64_t(group.rank()), left, left);
        tickets[next].second.wait();
        tickets.erase(tickets.begin() + int64_t(next));
      }
      for (int64_t round = 0; round < kRounds; ++round)
        for (size_t at = 0; at < 40 * n; ++at)
          ASSERT_EQ(rounds[size_t(round)][at], value(round, at / 40, at % 40)) << name << " round " << round;
    };
    std::thread beside([&] { talk("beside", int64_t(1) << 40); });
    talk("own", 0);
    beside.join();
  };
  expect_fine(over_nccl(5, body));
}

// Rank 0 ends while rank 2 is still busy with what rank 1 has sent it, so that nothing has been offered to rank 1 yet;
// and what rank 1 gets is long on its way from the card.
TEST_F(NcclRanks, WhatARankSentBeforeItEndedArrives) {
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    Group group(transport, "all");
    const auto send = [&](int to, size_t n) {
      std::vector<int64_t> values(n, group.rank() + 7);
      group.send(to, DType::i64, {bytes_of(values, 0, n)});
    };
    const auto receive = [&](int from, size_t n) {
      std::vector<int64_t> values(n);
      group.start_receive(from, DType::i64, {bytes_of(values, 0, n)}).wait();
      EXPECT_EQ(values, std::vector<int64_t>(n, from + 7));
    };
    if (group.rank() == 0) receive(2, 1), send(2, 1000), send(1, 1000);
    if (group.rank() == 1) send(2, 1000), send(2, 1000), receive(0, 1000);
    if (group.rank() == 2) receive(1, 1000), send(0, 1), receive(1, 1000), receive(0, 1000);
  };
  expect_fine(over_nccl(3, body, "HADAL_STAND_IN_SLOW_DOWNLOAD=400"));
}

TEST_F(NcclRanks, AFailureOnACardEndsTheWaitsOfAllWithNcclsWords) {
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    try {
      Group group(transport, "all");
      std::vector<int64_t> values(1000);
      for (int i = 0; i < 3 && group.leads(); ++i) group.send(1, DType::i64, {bytes_of(values, 0, 1000)});
      for (int i = 0; i < 3 && !group.leads(); ++i)
        group.start_receive(0, DType::i64, {bytes_of(values, 0, 1000)}).wait();
      group.barrier();
    } catch (const std::exception& error) {
      fmt::print(stderr, "rank {} says: {}\n", transport->rank(), error.what());
      transport->fail(error.what());
      throw;
    }
  };
  const Started started = over_nccl(2, body, "HADAL_STAND_IN_FAULT=1,4");  // behind the greetings the third
  if (started_by_mpi()) return;
  EXPECT_NE(started.code, 0);
  const std::string words =
      "rank 1 cannot receive send in all no. 2 (8000 bytes) from rank 0 over NCCL: remote process exited or "
      "there "
      "was a network error (the stand-in was asked to fail)";
  EXPECT_TRUE(has(started.text, "rank 1 says: " + words + "; rank 1 waits for rank 0 in send in all no. 2"))
      << started.text;
  EXPECT_TRUE(has(started.text, "rank 0 says: rank 1 ended: " + words)) << started.text;
}

TEST_F(NcclRanks, ARankThatStandsStillForEverEndsTheWaits) {
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    Group group(transport, "all");
    group.barrier();
    if (group.rank() == 1) raise(SIGSTOP);
    std::vector<int64_t> values(2000);
    std::vector<Share> shares = {{bytes_of(values, 0, 1000)}, {bytes_of(values, 1000, 1000)}};
    try {
      group.start_all_gather(DType::i64, shares).wait();
    } catch (const std::exception& error) {
      fmt::print(stderr, "rank {} says: {}\n", transport->rank(), error.what());
      transport->fail(error.what());
      throw;
    }
  };
  const Started started = over_nccl(2, body, "", {.silent_seconds = 3, .least_bytes = 100});
  if (started_by_mpi()) return;
  EXPECT_NE(started.code, 0);
  EXPECT_TRUE(has(started.text, "rank 0 says: rank 1 has given no sign of life for 3.")) << started.text;
}

TEST_F(NcclRanks, ARankThatWaitsForThreeSecondsHardlyUsesACpu) {
  const auto body = [](std::shared_ptr<NcclTransport> transport) {
    Group group(transport, "all");
    std::vector<int64_t> values(1000);
    group.start_broadcast(0, DType::i64, {bytes_of(values, 0, 1000)}).wait();
    group.barrier();
    const double before = testing::process_seconds();
    if (group.leads()) std::this_thread::sleep_for(std::chrono::seconds(3));
    group.start_broadcast(0, DType::i64, {bytes_of(values, 0, 1000)}).wait();
    EXPECT_LT(testing::process_seconds() - before, 0.1) << "rank " << group.rank();
  };
  expect_fine(over_nccl(2, body));
}

TEST_F(NcclRanks, WithoutACardForEachNoneStarts) {
  const Started started = over_nccl(
      3, [](std::shared_ptr<NcclTransport>) {}, "HADAL_STAND_IN_CARDS=2");
  if (started_by_mpi()) return;
  EXPECT_NE(started.code, 0);
  EXPECT_TRUE(has(started.text, "--transport nccl: rank 2 has no card of its own: it sees 2, and 3 ranks run on "))
      << started.text;
}

TEST_F(NcclRanks, RanksThatSpeakOverDifferentTransportsAreTold) {
  if (started_by_mpi()) {
    const bool first = std::string(std::getenv("OMPI_COMM_WORLD_RANK")) == "0";
    if (first) MpiTransport::open();
    NcclTransport::open(kOptions);
    return;
  }
  const Started started = over_nccl(2, nullptr);
  EXPECT_NE(started.code, 0);
  EXPECT_TRUE(has(started.text, "one rank was started with --transport mpi, another with nccl")) << started.text;
}

}  // namespace
}  // namespace hadal
