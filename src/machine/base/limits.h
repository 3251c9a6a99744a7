// Limits that a configuration is checked against and kernels rely on: one constant for both.
#pragma once
#include <cstdint>

namespace hadal {

inline constexpr int64_t kMaxExperts = 4096;  // routed experts of a layer: kernels keep a row of scores on the stack

}  // namespace hadal
