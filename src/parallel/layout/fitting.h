// What messages of layouts say that do not fit: the nearest numbers that do.
#pragma once
#include <cstdint>
#include <string>

namespace hadal {

constexpr int64_t kMostRanks = 1 << 20;

// "4 and 6 divide it": the divisors of `whole` around `asked`.
std::string nearest_divisors(int64_t whole, int64_t asked);

}  // namespace hadal
