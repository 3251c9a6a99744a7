// The thread pool: every index once, exceptions, nesting, callers from several threads, odd thread counts.
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceForAnyThreadCount) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.n_threads(), threads);
    for (int64_t n : {0, 1, 2, 3, 100, 1001}) {
      std::vector<std::atomic<int>> seen(size_t(n) + 1);
      std::atomic<bool> worker_in_range{true};
      pool.parallel_for(n, [&](int64_t i, int worker) {
        seen[size_t(i)].fetch_add(1);
        if (worker < 0 || worker >= threads) worker_in_range = false;
      });
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(seen[size_t(i)].load(), 1) << threads << " threads, index " << i;
      EXPECT_EQ(seen[size_t(n)].load(), 0);
      EXPECT_TRUE(worker_in_range);
    }
  }
}

TEST(ThreadPool, SurvivesManyShortJobsWithAndWithoutSleep) {
  ThreadPool pool(4);
  int64_t expected = 0;
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 20000; ++job) {
    const int64_t n = 1 + job % 9;
    pool.parallel_for(n, [&](int64_t i, int) { sum.fetch_add(i + 1, std::memory_order_relaxed); });
    expected += n * (n + 1) / 2;
    ASSERT_EQ(sum.load(), expected);
    if (job % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // workers fall asleep
  }
}

TEST(ThreadPool, WorkersTakePartAfterSleeping) {
  ThreadPool pool(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  // Two tasks that wait for each other finish only if two threads run them.
  std::atomic<int> arrived{0};
  pool.parallel_for(2, [&](int64_t, int) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 2);
}

TEST(ThreadPool, RethrowsTheFirstExceptionAndStaysUsable) {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    EXPECT_THROW(pool.parallel_for(50,
                                   [](int64_t i, int) {
                                     if (i == 7) throw std::runtime_error("seven");
                                   }),
                 std::runtime_error);
    std::atomic<int> count{0};
    pool.parallel_for(50, [&](int64_t, int) { count.fetch_add(1); });
    EXPECT_EQ(count.load(), 50);
  }
}

TEST(ThreadPool, RunsNestedCallsSeriallyInTheSameWorker) {
  ThreadPool pool(3);
  std::atomic<int> count{0};
  std::atomic<bool> same_worker{true};
  pool.parallel_for(10, [&](int64_t, int outer) {
    pool.parallel_for(10, [&](int64_t, int inner) {
      if (inner != outer) same_worker = false;
      count.fetch_add(1);
    });
  });
  EXPECT_EQ(count.load(), 100);
  EXPECT_TRUE(same_worker);
}

TEST(ThreadPool, KeepsWorkerNumbersInRangeWhenPoolsNest) {
  ThreadPool wide(4), narrow(2);
  std::atomic<int> count{0}, out_of_range{0}, concurrent{0}, overlaps{0};
  wide.parallel_for(8, [&](int64_t, int outer) {
    narrow.parallel_for(1, [&](int64_t, int worker) {
      if (concurrent.fetch_add(1) != 0) overlaps.fetch_add(1);  // both would use the scratch of worker 0
      if (worker < 0 || worker >= 2) out_of_range.fetch_add(1);
      count.fetch_add(1);
      concurrent.fetch_sub(1);
    });
    wide.parallel_for(3, [&](int64_t, int inner) { count.fetch_add(inner == outer ? 1 : 100); });
  });
  EXPECT_EQ(count.load(), 8 * 4);
  EXPECT_EQ(out_of_range.load(), 0);
  EXPECT_EQ(overlaps.load(), 0);
}

TEST(ThreadPool, ServesCallersFromSeveralThreadsInTurn) {
  ThreadPool pool(3);
  std::atomic<int> count{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int job = 0; job < 200; ++job) pool.parallel_for(5, [&](int64_t, int) { count.fetch_add(1); });
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(count.load(), 4 * 200 * 5);
}

TEST(ThreadPool, SpinsOnlyWhereEveryThreadHasACore) {
  const int cores = granted_threads();
  EXPECT_TRUE(ThreadPool(0).spins());
  EXPECT_TRUE(ThreadPool(1, cores).spins());
  EXPECT_FALSE(ThreadPool(cores + 1).spins());
  EXPECT_FALSE(ThreadPool(1, cores + 1).spins()) << "ranks beside each other";
  ThreadPool many(cores + 3, 2);
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 200; ++job) many.parallel_for(job, [&](int64_t i, int) { sum.fetch_add(i); });
  EXPECT_EQ(sum.load(), 200 * 199 * 198 / 6);
}

TEST(ThreadPool, GrantsAtLeastOneCoreAndRefusesNegativeCounts) {
  EXPECT_GE(granted_threads(), 1);
  EXPECT_EQ(ThreadPool(0).n_threads(), granted_threads());
  EXPECT_ERROR(ThreadPool(-1), ErrorKind::invalid, "thread count -1 is not in 0..4096 (0 = all granted cores)");
}

// Ends this (child) process: 0 when a pool that outgrows the address space says so, other codes for other ends.
[[noreturn]] void start_more_threads_than_fit() {
  alarm(60);  // a hang ends by a signal
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = rlim_t(pages) * rlim_t(sysconf(_SC_PAGESIZE)) + (rlim_t(64) << 20);  // some stacks
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(3);
  try {
    ThreadPool pool(4096);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    _exit(error.kind() == ErrorKind::io ? 0 : 4);
  }
  _exit(5);
}

TEST(ThreadPoolDeathTest, AThreadThatCannotStartIsAnErrorAndThoseThatStartedEnd) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own memory does not fit below a limit";
#endif
  EXPECT_EXIT(start_more_threads_than_fit(), ::testing::ExitedWithCode(0),
              "cannot start thread [0-9]+ of 4096: Resource temporarily unavailable");
}

}  // namespace
}  // namespace hadal
