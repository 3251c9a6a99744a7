// Some functions at a time: their minima stay in registers while the numbers pass by.
#include "kernels/least_values.h"

#include "kernels/cpu/simd.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

#if defined(HADAL_ISA_avx2)  // has no product of 64 bits: lane by lane is faster than made of parts
using Lanes = uint64_t;
constexpr int64_t kAtOnce = 8;
#else
using Lanes = uint64_t __attribute__((vector_size(64)));
constexpr int64_t kAtOnce = 7;
#endif
constexpr int64_t kLanes = sizeof(Lanes) / sizeof(uint64_t);

HADAL_INLINE Lanes lanes_at(const uint64_t* from, int64_t n) {
  uint64_t parts[kLanes] = {};
  for (int64_t i = 0; i < kLanes && i < n; ++i) parts[i] = from[i];
  Lanes lanes;
  __builtin_memcpy(&lanes, parts, sizeof lanes);
  return lanes;
}

// Of kAtOnce vectors of functions from `first` on; those behind the last one are for nobody.
HADAL_INLINE void least_of(const LeastValues& k, int64_t first) {
  Lanes factors[kAtOnce], offsets[kAtOnce], least[kAtOnce];
  for (int64_t v = 0; v < kAtOnce; ++v) {
    const int64_t at = first + v * kLanes;
    factors[v] = lanes_at(k.factors + at, k.functions - at), offsets[v] = lanes_at(k.offsets + at, k.functions - at);
    least[v] = ~Lanes{};
  }
  for (int64_t j = 0; j < k.n; ++j) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kAtOnce; ++v) {
      const Lanes value = k.x[j] * factors[v] + offsets[v];
      least[v] = value < least[v] ? value : least[v];
    }
  }
  const int64_t left = k.functions - first;
  __builtin_memcpy(k.least + first, least, size_t(left < kAtOnce * kLanes ? left : kAtOnce * kLanes) * 8);
}

}  // namespace

void least_values(const LeastValues& k) {
  for (int64_t first = 0; first < k.functions; first += kAtOnce * kLanes) least_of(k, first);
}

}  // namespace hadal::kernels::HADAL_ISA
