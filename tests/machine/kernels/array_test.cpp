#include "kernels/array.h"

#include <gtest/gtest.h>

#include "base/expect_error.h"

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
  visit_numbers(
      [&](auto a, auto b, auto c) {
        ++calls;
        EXPECT_TRUE((std::is_same_v<element<decltype(a)>, float>));
        EXPECT_TRUE((std::is_same_v<element<decltype(b)>, f16>));
        EXPECT_TRUE((std::is_same_v<element<decltype(c)>, f16>));
      },
      DType::f32, DType::f16, DType::f16);
  EXPECT_EQ(calls, 3);
  EXPECT_ERROR(visit_small([&](auto, auto) { ++calls; }, DType::f16, DType::bf16), ErrorKind::internal,
               "BF16 together with F16");
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace hadal::kernels
