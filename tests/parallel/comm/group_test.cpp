// What ranks say to each other: every collective against its definition, sums in rank order to the bit, and what
// happens when a rank fails, leaves, or does something else than the others.
#include "comm/group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "comm/rank_threads.h"

namespace hadal {
namespace {

template <class T>
MutableBytes bytes(std::vector<T>& values, size_t begin, size_t count) {
  return std::as_writable_bytes(std::span(values).subspan(begin, count));
}

template <class T>
MutableBytes bytes(std::vector<T>& values) {
  return bytes(values, 0, values.size());
}

// Numbers of very different sizes, so that another order of adding gives other bits.
std::vector<float> numbers_of(int rank, size_t n) {
  std::vector<float> values;
  for (size_t i = 0; i < n; ++i)
    values.push_back(
        float(std::ldexp(random_normal(1, uint64_t(rank), i), int(random_below(2, uint64_t(rank), i, 20)))));
  return values;
}

float sum_by_definition(int n_ranks, size_t i, size_t n) {
  float sum = numbers_of(0, n)[i];
  for (int r = 1; r < n_ranks; ++r) sum += numbers_of(r, n)[i];
  return sum;
}

void on_ranks(int n, const std::function<void(Group&)>& body) {
  run_rank_threads(n, [&](std::shared_ptr<Transport> transport) {
    Group group(transport, "all");
    body(group);
  });
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class Ranks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Group, Ranks, testing::Values(1, 2, 3, 5, 8));

TEST_P(Ranks, ReduceScatterAddsInRankOrderAndLeavesOthersPartsAlone) {
  const int n = GetParam();
  const size_t each = 1300;  // more than a block of the sum
  on_ranks(n, [&](Group& group) {
    std::vector<float> values = numbers_of(group.rank(), each * size_t(n));
    std::vector<Share> parts;
    for (int r = 0; r < n; ++r)  // each part in two pieces
      parts.push_back({bytes(values, size_t(r) * each, 300), bytes(values, size_t(r) * each + 300, each - 300)});
    group.start_reduce_scatter(DType::f32, parts).wait();
    for (size_t i = 0; i < values.size(); i += 97) {
      const bool own = int(i / each) == group.rank();
      const float wanted = own ? sum_by_definition(n, i, values.size()) : numbers_of(group.rank(), values.size())[i];
      ASSERT_EQ(values[i], wanted) << "element " << i << " on rank " << group.rank();
    }
    EXPECT_EQ(group.traffic().bytes, int64_t(n - 1) * int64_t(each) * 4);
  });
}

TEST_P(Ranks, SharesOfAReduceScatterMayLeaveOneByOneAndThoseOfAnAllGatherBeTakenInAnyOrder) {
  const int n = GetParam();
  const size_t each = 1300;
  on_ranks(n, [&](Group& group) {
    std::vector<float> values = numbers_of(group.rank(), each * size_t(n)), gathered(each * size_t(n), -1.0f);
    std::vector<Share> parts, copies;
    for (int r = 0; r < n; ++r) parts.push_back({bytes(values, size_t(r) * each, each)});
    for (int r = 0; r < n; ++r) copies.push_back({bytes(gathered, size_t(r) * each, each)});
    LeavingShares leaving = group.begin_reduce_scatter(DType::f32, parts);
    for (int i = 1; i < n; ++i) leaving.leave((group.rank() + i) % n);
    leaving.sums.wait();
    const size_t own = size_t(group.rank()) * each;
    for (size_t i = own; i < own + each; i += 97) EXPECT_EQ(values[i], sum_by_definition(n, i, values.size()));

    std::copy_n(values.begin() + int64_t(own), each, gathered.begin() + int64_t(own));
    std::vector<Ticket> tickets = group.start_all_gather_by_rank(DType::f32, copies);
    EXPECT_FALSE(tickets[size_t(group.rank())].pending());
    for (int r = n; r-- > 0;) tickets[size_t(r)].wait();
    for (size_t i = 0; i < gathered.size(); i += 97) EXPECT_EQ(gathered[i], sum_by_definition(n, i, gathered.size()));
    EXPECT_EQ(group.traffic().bytes, 2 * int64_t(n - 1) * int64_t(each) * 4);
    EXPECT_EQ(group.traffic().messages, 2 * (n - 1));
  });
}

TEST_P(Ranks, AllReduceGivesEveryRankTheSameSumAtTheFormulasTraffic) {
  const int n = GetParam();
  on_ranks(n, [&](Group& group) {
    const size_t count = 40 * size_t(n);
    std::vector<float> values = numbers_of(group.rank(), count);
    group.start_all_reduce(DType::f32, {bytes(values)}).wait();
    for (size_t i = 0; i < count; i += 7) ASSERT_EQ(values[i], sum_by_definition(n, i, count));
    EXPECT_EQ(group.traffic().bytes, 2 * int64_t(n - 1) * 40 * 4);
  });
}

TEST_P(Ranks, AllReduceTakesAnyNumberOfElements) {
  const int n = GetParam();
  on_ranks(n, [&](Group& group) {
    for (const size_t count : {size_t(0), size_t(1), size_t(n) + 1, size_t(3)}) {
      std::vector<double> values(count, double(group.rank() + 1));
      group.start_all_reduce(DType::f64, {bytes(values)}).wait();
      for (const double value : values) EXPECT_EQ(value, n * (n + 1) / 2);
    }
  });
}

TEST_P(Ranks, AllGatherAndGatherAndBroadcastCopy) {
  const int n = GetParam();
  on_ranks(n, [&](Group& group) {
    std::vector<int32_t> all(size_t(n) * 3, -1);
    std::vector<Share> parts;
    for (int r = 0; r < n; ++r) parts.push_back({bytes(all, size_t(r) * 3, 3)});
    for (size_t i = 0; i < 3; ++i) all[size_t(group.rank()) * 3 + i] = group.rank() * 10 + int32_t(i);
    group.start_all_gather(DType::i32, parts).wait();
    for (int r = 0; r < n; ++r) EXPECT_EQ(all[size_t(r) * 3 + 2], r * 10 + 2);

    const int root = n - 1;
    std::vector<int32_t> gathered(size_t(n), -1);
    gathered[size_t(group.rank())] = group.rank() + 100;
    std::vector<Share> ones;
    for (int r = 0; r < n; ++r) ones.push_back({bytes(gathered, size_t(r), 1)});
    group.start_gather(root, DType::i32, ones).wait();
    for (int r = 0; r < n; ++r)
      EXPECT_EQ(gathered[size_t(r)], group.rank() == root || r == group.rank() ? r + 100 : -1);

    std::vector<int32_t> told = {group.rank()};
    group.start_broadcast(root, DType::i32, {bytes(told)}).wait();
    EXPECT_EQ(told[0], root);
    EXPECT_EQ(group.tell(0, group.leads() ? "what the first says" : ""), "what the first says");
  });
}

TEST_P(Ranks, AllToAllCarriesPartsOfEverySize) {
  const int n = GetParam();
  on_ranks(n, [&](Group& group) {
    std::vector<std::string> texts;  // rank a sends b a's of length a + 2 b, none of its own
    for (int r = 0; r < n; ++r) texts.emplace_back(size_t(group.rank() + 2 * r), char('a' + group.rank()));
    std::vector<ConstBytes> to;
    for (const std::string& text : texts) to.push_back(std::as_bytes(std::span(text)));
    std::vector<Message> received;
    group.start_all_to_all(to, received).wait();
    for (int r = 0; r < n; ++r) {
      ASSERT_EQ(received[size_t(r)].bytes, r + 2 * group.rank());
      for (const std::byte byte : received[size_t(r)].view()) ASSERT_EQ(char(byte), char('a' + r));
    }
    const std::vector<std::string> exchanged = group.exchange(std::string(size_t(group.rank()), 'x'));
    for (int r = 0; r < n; ++r) EXPECT_EQ(exchanged[size_t(r)].size(), size_t(r));
  });
}

TEST_P(Ranks, TicketsMayBeWaitedForInAnyOrderAndBuffersSentMayChangeAtOnce) {
  const int n = GetParam();
  on_ranks(n, [&](Group& group) {
    std::vector<std::vector<double>> rounds;
    for (int k = 0; k < 6; ++k) rounds.push_back(std::vector<double>(size_t(n) * 2, k + group.rank()));
    std::vector<Ticket> tickets;
    for (auto& round : rounds) tickets.push_back(group.start_all_reduce(DType::f64, {bytes(round)}));
    for (int k = 5; k >= 0; --k) tickets[size_t(k)].wait();
    for (int k = 0; k < 6; ++k) EXPECT_EQ(rounds[size_t(k)][0], n * k + n * (n - 1) / 2);
    std::vector<std::vector<int64_t>> seen(6, std::vector<int64_t>(size_t(n), group.rank()));
    std::vector<Ticket> gathers;
    for (auto& values : seen) {
      std::vector<Share> parts;
      for (int r = 0; r < n; ++r) parts.push_back({bytes(values, size_t(r), 1)});
      gathers.push_back(group.start_all_gather(DType::i64, parts));
    }
    for (int k = 0; k < 6; ++k) gathers[size_t((k + group.rank()) % 6)].wait();  // every rank in another order
    for (int k = 0; k < 6; ++k) EXPECT_EQ(seen[size_t(k)][size_t(n) - 1], n - 1);
    std::vector<double> sent = {double(group.rank())}, got = {-1};
    const int next = (group.rank() + 1) % n, before = (group.rank() + n - 1) % n;
    if (n == 1) return;
    group.send(next, DType::f64, {bytes(sent)});
    sent[0] = 99;
    group.start_receive(before, DType::f64, {bytes(got)}).wait();
    EXPECT_EQ(got[0], before);
  });
}

TEST(Group, SumsRoundOnceInTheFormatThatIsSent) {
  on_ranks(3, [](Group& group) {
    // in BF16 1 + 2^-8 + 2^-8 would stay 1 when rounded after each rank
    std::vector<bf16> values(3, bf16(group.rank() == 0 ? 1.0f : std::ldexp(1.0f, -8)));
    std::vector<Share> parts;
    for (size_t r = 0; r < 3; ++r) parts.push_back({bytes(values, r, 1)});
    group.start_reduce_scatter(DType::bf16, parts).wait();
    EXPECT_EQ(float(values[size_t(group.rank())]), 1 + std::ldexp(1.0f, -7));
  });
}

TEST(Group, PartsOfTheRanksAreGroupsOfTheirOwn) {
  on_ranks(4, [](Group& all) { EXPECT_EQ(all.size(), 4); });
  run_rank_threads(4, [](std::shared_ptr<Transport> transport) {
    const int rank = transport->rank();
    Group pair(transport, rank < 2 ? "low" : "high", rank < 2 ? std::vector<int>{0, 1} : std::vector<int>{2, 3});
    Group odd(transport, rank % 2 == 0 ? "even" : "odd",
              rank % 2 == 0 ? std::vector<int>{0, 2} : std::vector<int>{1, 3});
    std::vector<double> a = {double(rank)}, b = {double(rank)};
    Ticket first = pair.start_all_reduce(DType::f64, {bytes(a)}), second = odd.start_all_reduce(DType::f64, {bytes(b)});
    second.wait();
    first.wait();
    EXPECT_EQ(a[0], rank < 2 ? 1 : 5);
    EXPECT_EQ(b[0], rank % 2 == 0 ? 2 : 4);
  });
}

TEST(Group, ARankThatThrowsEndsTheWaitsOfAllAndIsNamed) {
  std::atomic<int> ended = 0;
  const std::string message = error_of([&] {
    on_ranks(4, [&](Group& group) {
      if (group.rank() == 2) fail(ErrorKind::corrupt, "shard 7 is damaged");
      try {
        group.barrier();
      } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "rank 2 ended: shard 7 is damaged");
        ++ended;
        throw;
      }
    });
  });
  EXPECT_EQ(message, "rank 2: shard 7 is damaged");
  EXPECT_EQ(ended, 3);
}

TEST(Group, WaitingForARankThatHasReturnedIsAnErrorAtOnce) {
  const std::string message = error_of([] {
    on_ranks(3, [](Group& group) {
      if (group.rank() != 1) group.barrier();
    });
  });
  EXPECT_NE(message.find("rank 1 has returned"), std::string::npos) << message;
  EXPECT_NE(message.find("waits for rank 1 in all_to_all of all no. 0"), std::string::npos) << message;
}

TEST(Group, RanksThatAllWaitForEachOtherAreFoundAtOnce) {
  const std::string message = error_of([] {
    on_ranks(2, [](Group& group) {
      double value = 0;
      group.start_receive(1 - group.rank(), DType::f64, {std::as_writable_bytes(std::span(&value, 1))}).wait();
    });
  });
  EXPECT_NE(message.find("messages that nobody will send"), std::string::npos) << message;
  EXPECT_NE(message.find("rank 0 waits for rank 1 in send in all no. 0"), std::string::npos) << message;
}

TEST(Group, AWaitWithoutEndTellsBytesAndWhereTheRankIs) {
  const std::string message = error_of([] {
    run_rank_threads(2, [](std::shared_ptr<Transport> transport) {
      Group group(transport, "all");
      transport->doing().begin("step", 7);
      transport->doing().act("Bi", 1, 3 + group.rank());
      double value = 0;
      group.start_receive(1 - group.rank(), DType::f64, {std::as_writable_bytes(std::span(&value, 1))}).wait();
    });
  });
  EXPECT_NE(message.find("rank 1 waits for rank 0 in send in all no. 0 (8 bytes) since 0."), std::string::npos)
      << message;
  EXPECT_NE(message.find(" s, at step 7, Bi of micro-batch 4 at stage 1"), std::string::npos) << message;
}

TEST(Group, RanksThatDoDifferentThingsAreTold) {
  const std::string operation = error_of([] {
    on_ranks(2, [](Group& group) {
      std::vector<double> values(2, 1.0);
      if (group.rank() == 0) {
        group.start_all_reduce(DType::f64, {bytes(values)}).wait();
      } else {
        group.barrier();
      }
    });
  });
  EXPECT_NE(operation.find("ranks do different things"), std::string::npos) << operation;
  EXPECT_NE(operation.find("all_reduce of all"), std::string::npos) << operation;
  const std::string size = error_of([] {
    on_ranks(2, [](Group& group) {
      std::vector<double> values(group.rank() == 0 ? 2 : 4, 1.0);
      group.start_all_reduce(DType::f64, {bytes(values)}).wait();
    });
  });
  EXPECT_NE(size.find("bytes came from rank"), std::string::npos) << size;
  const std::string format = error_of([] {
    on_ranks(2, [](Group& group) {
      std::vector<double> values(2, 1.0);
      group.start_all_reduce(group.rank() == 0 ? DType::f64 : DType::i64, {bytes(values)}).wait();
    });
  });
  EXPECT_NE(format.find("of F64"), std::string::npos) << format;
  EXPECT_NE(format.find("of I64"), std::string::npos) << format;
}

double thread_cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

TEST(Group, ARankThatWaitsSleeps) {
  on_ranks(2, [](Group& group) {
    group.barrier();
    if (group.leads()) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const double before = thread_cpu_seconds();
    group.barrier();
    EXPECT_LT(thread_cpu_seconds() - before, 0.01) << "0.1 s in 3 s; rank " << group.rank();
  });
}

// While ranks wait for each other in their own threads, and others of theirs for each other, nobody takes it for a
// deadlock.
TEST(Group, ASecondThreadOfEachRankHasAGroupOfItsOwn) {
  run_rank_threads(3, [](std::shared_ptr<Transport> transport) {
    Group own(transport, "own"), beside(transport, "beside");
    std::thread second([&] {
      if (own.leads()) std::this_thread::sleep_for(std::chrono::milliseconds(30));
      for (int round = 0; round < 50; ++round)
        for (int r = 0; r < 3; ++r)
          EXPECT_EQ(beside.exchange(fmt::format("{} {}", own.rank(), round))[size_t(r)],
                    fmt::format("{} {}", r, round));
    });
    if (own.rank() == 1) second.join();
    for (int round = 0; round < 50; ++round) own.barrier();
    if (second.joinable()) second.join();
  });
}

TEST(Group, ASecondThreadThatWaitsForARankThatHasReturnedIsTold) {
  run_rank_threads(2, [](std::shared_ptr<Transport> transport) {
    if (transport->rank() == 1) return;
    Group beside(transport, "beside");
    std::string message;
    std::thread([&] { message = error_of([&] { beside.barrier(); }); }).join();
    EXPECT_EQ(message, "rank 1 has returned while rank 0 waits for it in all_to_all of beside");
  });
}

TEST(Group, ManyRanksAndManyMessagesStayInOrder) {
  on_ranks(8, [](Group& group) {
    for (int64_t round = 0; round < 200; ++round) {
      std::vector<int64_t> value = {round * 8 + group.rank()};
      group.start_all_reduce(DType::i64, {bytes(value)}).wait();
      ASSERT_EQ(value[0], round * 64 + 28);
    }
  });
}

}  // namespace
}  // namespace hadal
