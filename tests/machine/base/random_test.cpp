// Philox against the published known-answer vectors of Random123 (philox4x32-10), and the distributions built on it.
#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

using Words = std::array<uint32_t, 4>;

TEST(Random, PhiloxGivesThePublishedVectors) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0
  EXPECT_EQ(philox(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0x85a308d3243f6a88ull),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, StreamsOfDifferentUsesDiffer) {
  std::set<uint64_t> ids;
  for (const char* name : {"a", "b", "data.shuffle", ""}) {
    for (uint64_t a = 0; a < 20; ++a) {
      for (uint64_t b = 0; b < 20; ++b) ids.insert(stream_id(name, a, b));
    }
  }
  EXPECT_EQ(ids.size(), 4u * 20 * 20);
  EXPECT_EQ(stream_id("x", 1, 2), stream_id("x", 1, 2));
}

TEST(Random, UniformAndNormalHaveTheRightMoments) {
  const int n = 200000;
  double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n4 = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random_uniform(1, 2, uint64_t(i)), z = random_normal(1, 3, uint64_t(i));
    ASSERT_TRUE(u >= 0 && u < 1);
    u1 += u, u2 += u * u, n1 += z, n2 += z * z, n4 += z * z * z * z;
  }
  EXPECT_NEAR(u1 / n, 0.5, 0.005);
  EXPECT_NEAR(u2 / n, 1.0 / 3, 0.005);
  EXPECT_NEAR(n1 / n, 0, 0.02);
  EXPECT_NEAR(n2 / n, 1, 0.02);
  EXPECT_NEAR(n4 / n, 3, 0.15);
}

TEST(Random, BelowIsInRangeAndEven) {
  std::vector<int> hits(7);
  for (uint64_t i = 0; i < 70000; ++i) ++hits[random_below(5, 6, i, 7)];
  for (int count : hits) EXPECT_NEAR(count, 10000, 500);
  // Just above 2^63 nearly half of all draws are rejected: the retry must stay in range and depend on the index alone.
  const uint64_t n = (1ull << 63) + 1;
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    const uint64_t value = random_below(5, 6, i, n);
    ASSERT_LT(value, n);
    EXPECT_EQ(value, random_below(5, 6, i, n));
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_ERROR(random_below(1, 2, 3, 0), ErrorKind::internal, "random_below needs n > 0");
}

TEST(Random, ShuffleIsAPermutationGivenBySeedAndStream) {
  std::vector<int> a(100);
  std::iota(a.begin(), a.end(), 0);
  auto b = a, c = a, sorted = a;
  random_shuffle(a, 1, 2);
  random_shuffle(b, 1, 2);
  random_shuffle(c, 1, 3);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  EXPECT_NE(a, sorted);
  std::sort(a.begin(), a.end());
  EXPECT_EQ(a, sorted);
}

TEST(Random, StreamContinuesFromItsIndex) {
  RandomStream stream{9, 10};
  stream.bits();
  stream.uniform();
  RandomStream later{9, 10, 2};
  EXPECT_EQ(stream.normal(), later.normal());
}

}  // namespace
}  // namespace hadal
