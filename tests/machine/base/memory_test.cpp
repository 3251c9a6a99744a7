// The memory pool: alignment, exact counts, reuse, blocks that outlive the pool.
#include "base/memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/error.h"

namespace hadal {
namespace {

TEST(MemoryPool, AlignsSmallBlocksTo64BytesAndLargeOnesTo2MiB) {
  auto pool = MemoryPool::create();
  for (size_t bytes : {0u, 1u, 63u, 64u, 65u, 1000u, 100000u, 2000000u}) {
    auto block = pool->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.get()) % 64, 0u);
    std::memset(block.get(), 1, bytes);
  }
  auto large = pool->allocate(5u << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.get()) % (2u << 20), 0u);
  std::memset(large.get(), 1, 5u << 20);
}

TEST(MemoryPool, CountsMemoryOfOthersAsLongAsItIsKept) {
  auto pool = MemoryPool::create();
  auto memory = std::make_shared<int>(7);
  std::weak_ptr<int> lives = memory;
  auto kept = pool->adopt(memory, 1000);
  EXPECT_EQ(kept.get(), memory.get());
  memory.reset();
  auto again = kept;
  kept.reset();
  EXPECT_EQ(pool->bytes_in_use(), 1000u);
  EXPECT_EQ(pool->bytes_reserved(), 0u);
  EXPECT_FALSE(lives.expired());
  again.reset();
  EXPECT_EQ(pool->bytes_in_use(), 0u);
  EXPECT_EQ(pool->peak_bytes(), 1000u);
  EXPECT_TRUE(lives.expired());
}

TEST(MemoryPool, CountsWhatCallersAskedForExactly) {
  auto pool = MemoryPool::create();
  auto a = pool->allocate(1000);
  auto b = pool->allocate(3);
  EXPECT_EQ(pool->bytes_in_use(), 1003u);
  EXPECT_GE(pool->bytes_reserved(), 1003u);
  a.reset();
  EXPECT_EQ(pool->bytes_in_use(), 3u);
  EXPECT_EQ(pool->peak_bytes(), 1003u);
  pool->reset_peak();
  EXPECT_EQ(pool->peak_bytes(), 3u);
  b.reset();
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST(MemoryPool, ReusesBlocksUntilTrimmed) {
  auto pool = MemoryPool::create();
  void* first = pool->allocate(3 << 20).get();
  const size_t reserved = pool->bytes_reserved();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pool->allocate((3 << 20) - i).get(), first);
  EXPECT_EQ(pool->bytes_reserved(), reserved);
  pool->trim();
  EXPECT_EQ(pool->bytes_reserved(), 0u);
}

TEST(MemoryPool, ALargeBlockServesSizesNotMuchSmallerThanItsOwn) {
  auto pool = MemoryPool::create();
  void* first = pool->allocate(3 << 20).get();
  const size_t reserved = pool->bytes_reserved();
  EXPECT_EQ(pool->allocate((9 << 20) / 4).get(), first);
  EXPECT_EQ(pool->allocate(3 << 20).get(), first);  // its own size is not forgotten
  EXPECT_EQ(pool->bytes_reserved(), reserved);
  pool->allocate(1 << 20);
  EXPECT_GT(pool->bytes_reserved(), reserved);
}

TEST(MemoryPool, CountsWhatItTookFromTheSystemWithItsPeak) {
  auto pool = MemoryPool::create();
  pool->allocate(3 << 20);
  pool->allocate(40000);  // the first block waits for its next use
  const size_t both = pool->bytes_reserved();
  EXPECT_GE(both, (3u << 20) + 40000u);
  EXPECT_EQ(pool->peak_bytes(), 3u << 20);
  EXPECT_EQ(pool->peak_reserved(), both);
  pool->trim();
  EXPECT_EQ(pool->peak_reserved(), both);
  pool->reset_peak();
  EXPECT_EQ(pool->peak_reserved(), 0u);
  for (size_t bytes : {65u, 1000u, 5000u, 40000u, 100001u, 3000000u, 5000000u, 17000000u}) {
    pool->trim();
    const auto block = pool->allocate(bytes);
    EXPECT_LE(double(pool->bytes_reserved()), 1.125 * double(bytes) + 64) << bytes;
  }
}

TEST(MemoryPool, LetsBlocksOutliveThePool) {
  auto pool = MemoryPool::create();
  auto small = pool->allocate(100), large = pool->allocate(4 << 20);
  pool.reset();
  std::memset(small.get(), 7, 100);
  std::memset(large.get(), 7, 4 << 20);
  EXPECT_EQ(static_cast<char*>(large.get())[(4 << 20) - 1], 7);
}

TEST(MemoryPool, KeepsItsCountsFromManyThreads) {
  auto pool = MemoryPool::create();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) std::memset(pool->allocate(size_t(1 + (i * 37 + t) % 5000)).get(), t, 1);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST(MemoryPool, SaysWhatWasAskedWhenMemoryIsOut) {
  auto pool = MemoryPool::create();
  try {
    pool->allocate(size_t(1) << 61);
    FAIL() << "no machine has 2 EiB";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
    EXPECT_NE(std::string(error.what()).find("2048 PiB asked for"), std::string::npos) << error.what();
  }
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

}  // namespace
}  // namespace hadal
