// The choice among experts on the device, a warp per token. Keys are those of cpu/routing.cpp: the score's bits made
// orderable as integers above, the reversed index below, so that no two are equal and the best one comes first. What
// was taken before is what is not below the last one taken: nothing needs to be marked.
#pragma once
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {

inline constexpr int64_t kAboveAllKeys = INT64_MAX;

__device__ inline int64_t key_of(float score, int64_t index) {
  int32_t bits = int32_t(bits_of(score));
  bits ^= (bits >> 31) & 0x7fffffff;
  return int64_t(uint64_t(uint32_t(bits)) << 32 | (0xffffffffu - uint32_t(index)));
}
__device__ inline int64_t index_of(int64_t key) { return int64_t(0xffffffffu - uint32_t(uint64_t(key))); }

// The largest of key(i), i in [0, count), below `last`; the same for every lane.
template <class Key>
__device__ int64_t next_key(int64_t count, int64_t last, Key key) {
  int64_t best = INT64_MIN;
  for (int64_t i = lane_index(); i < count; i += kWarp) {
    const int64_t k = key(i);
    if (k < last && k > best) best = k;
  }
  for (int bits = kWarp / 2; bits > 0; bits /= 2) {
    const int64_t other = shuffle_xor(best, bits);
    best = other > best ? other : best;
  }
  return best;
}

}  // namespace hadal::kernels::cuda
