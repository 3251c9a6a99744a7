// Collectives over processes have the bits that they have over threads. Each test starts itself again under mpirun.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "comm/group.h"
#include "comm/mpi_transport.h"
#include "comm/rank_threads.h"

namespace hadal {
namespace {

std::string mpirun(int n) {
  return fmt::format("mpirun -n {} --oversubscribe --bind-to none --mca btl_vader_single_copy_mechanism none {} ", n,
                     geteuid() == 0 ? "--allow-run-as-root" : "");
}

// Runs `body` as each of n processes, all in this test's name.
void under_mpirun(int n, const std::function<void(std::shared_ptr<MpiTransport>)>& body) {
  if (started_by_mpi()) return body(MpiTransport::open());
  if (!std::filesystem::exists(std::string(HADAL_BINARY_DIR) + "/hadal_mpi.so") ||
      std::system((mpirun(1) + "true > /dev/null 2> /dev/null").c_str()) != 0)
    GTEST_SKIP() << "mpirun starts nothing here (./setup --tests installs it)";
  const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
  const std::string command =
      fmt::format("timeout 120 {} '{}' --gtest_filter={}.{} > /dev/null", mpirun(n),
                  std::filesystem::read_symlink("/proc/self/exe").string(), test.test_suite_name(), test.name());
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

// Everything once, as one text of bits.
std::string all_collectives(Group& group) {
  const size_t n = size_t(group.size());
  std::vector<float> values;
  for (size_t i = 0; i < 1000 * n; ++i)
    values.push_back(float(std::ldexp(random_normal(1, uint64_t(group.rank()), i), int(i % 20))));
  const auto bytes = [](auto& of, size_t begin, size_t count) {
    return std::as_writable_bytes(std::span(of).subspan(begin, count));
  };
  std::vector<Share> shares;
  for (size_t r = 0; r < n; ++r) shares.push_back({bytes(values, 1000 * r, 1000)});
  group.start_reduce_scatter(DType::f32, shares).wait();
  group.start_all_gather(DType::f32, shares).wait();
  group.start_all_reduce(DType::f32, {bytes(values, 3, 500)}).wait();
  std::string text(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  for (const std::string& part : group.exchange(std::string(size_t(group.rank()) * 3, 'r'))) text += part;
  text += group.tell(int(n) - 1, fmt::format("rank {}", group.rank()));
  std::vector<double> passed = {double(group.rank())}, got = {-1};
  group.send((group.rank() + 1) % int(n), DType::f64, {bytes(passed, 0, 1)});
  group.start_receive((group.rank() + int(n) - 1) % int(n), DType::f64, {bytes(got, 0, 1)}).wait();
  return text + fmt::format(" got {}", got[0] == (group.rank() + int(n) - 1) % int(n));
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

// CPU seconds of this process and all its threads.
double process_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

TEST(MpiRanks, ARankThatWaitsForThreeSecondsHardlyUsesACpu) {
  under_mpirun(2, [](std::shared_ptr<MpiTransport> transport) {
    Group group(transport, "all");
    group.barrier();
    const double before = process_seconds();
    if (group.leads()) std::this_thread::sleep_for(std::chrono::seconds(3));
    group.barrier();
    EXPECT_LT(process_seconds() - before, 0.1) << "rank " << group.rank();
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
