// The smallest values of linear functions: every instruction set has the bits of the formula.
#include "kernels/least_values.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace hadal::kernels {
namespace {

std::vector<uint64_t> drawn(uint64_t stream, int64_t n) {
  std::vector<uint64_t> numbers;
  for (int64_t i = 0; i < n; ++i) numbers.push_back(random_bits(7, stream, uint64_t(i)));
  return numbers;
}

TEST(LeastValues, EveryInstructionSetHasThoseOfTheFormula) {
  for (const int64_t functions : {1, 7, 8, 9, 55, 56, 57, 112, 250}) {
    for (const int64_t n : {0, 1, 2, 500}) {
      const auto x = drawn(1, n), factors = drawn(2, functions), offsets = drawn(3, functions);
      std::vector<uint64_t> expected;
      for (int64_t i = 0; i < functions; ++i) {
        uint64_t least = ~uint64_t(0);
        for (const uint64_t one : x) least = std::min(least, factors[size_t(i)] * one + offsets[size_t(i)]);
        expected.push_back(least);
      }
      for (const Isa isa : available_isas()) {
        std::vector<uint64_t> least(size_t(functions) + 1, 77);
        least_values(isa, {x.data(), n, factors.data(), offsets.data(), functions, least.data()});
        EXPECT_EQ(least.back(), 77u) << isa_name(isa);
        least.pop_back();
        EXPECT_EQ(least, expected) << isa_name(isa) << ", " << functions << " functions of " << n << " numbers";
      }
    }
  }
}

}  // namespace
}  // namespace hadal::kernels
