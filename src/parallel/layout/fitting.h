// What messages of layouts say that do not fit: the nearest numbers that do.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace hadal {

constexpr int64_t kMostRanks = 1 << 20;

// "ep = 4 and 6 fit": the nearest below `asked` and above it, of 1 .. most. 1 must fit.
std::string nearest_fitting(const std::string& name, int64_t asked, int64_t most,
                            const std::function<bool(int64_t)>& fits);

}  // namespace hadal
