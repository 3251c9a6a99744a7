#include "kernels/array.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace hadal::kernels {
namespace {

TEST(KernelArray, BlocksCoverEveryIndexOnce) {
  Lane lane(3, MemoryPool::create());
  for (int64_t count : {0, 1, 7, 8, 9, 100})
    for (int64_t block : {1, 8, 200}) {
      std::vector<std::atomic<int>> seen(size_t(count) + 1);
      parallel_blocks(&lane, count, block, [&](int64_t begin, int64_t end) {
        EXPECT_LE(end - begin, block);
        for (int64_t i = begin; i < end; ++i) ++seen[size_t(i)];
      });
      for (int64_t i = 0; i < count; ++i) EXPECT_EQ(seen[size_t(i)], 1);
      EXPECT_EQ(seen[size_t(count)], 0);
    }
}

TEST(KernelArray, VisitsTheElementTypesThatFormatsName) {
  int calls = 0;
  visit_numbers(
      [&](auto a, auto b) {
        ++calls;
        EXPECT_TRUE((std::is_same_v<element<decltype(a)>, bf16>));
        EXPECT_TRUE((std::is_same_v<element<decltype(b)>, float>));
      },
      DType::bf16, DType::f32);
  visit_numbers(
      [&](auto a, auto b) {
        ++calls;
        EXPECT_TRUE((std::is_same_v<element<decltype(a)>, double>));
        EXPECT_TRUE((std::is_same_v<element<decltype(b)>, double>));
      },
      DType::f64, DType::f64);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace hadal::kernels
