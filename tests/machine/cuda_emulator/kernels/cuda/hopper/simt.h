// The thin layer, device side, emulated: what src/machine/kernels/cuda/hopper/simt.h offers a kernel, on fibers.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "cuda_emulator/block.h"
#include "kernels/cuda/hopper/launch.h"

#define HADAL_UNROLL

namespace hadal::kernels::cuda {

inline constexpr int kWarp = 32;
using Here = std::source_location;

inline int thread_index() { return emulator::thread_index(); }
inline int block_threads() { return emulator::block_threads(); }
inline int64_t block_index() { return emulator::block_index(); }
inline int64_t grid_blocks() { return emulator::grid_blocks(); }
inline int lane_index() { return emulator::thread_index() % kWarp; }
inline int warp_index() { return emulator::thread_index() / kWarp; }

inline void block_barrier(const Here& where = Here::current()) { emulator::wait_for_block(where); }
inline void warp_barrier(const Here& where = Here::current()) { emulator::exchange_in_warp(0, where); }

template <class T>
T value_of_lane(T value, int lane, const Here& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  const uint64_t* words = emulator::exchange_in_warp(word, where);
  std::memcpy(&value, &words[lane], sizeof(T));
  return value;
}
template <class T>
T shuffle_xor(T value, int bits, const Here& where = Here::current()) {
  return value_of_lane(value, (lane_index() ^ bits) % kWarp, where);
}
template <class T>
T shuffle_down(T value, int below, const Here& where = Here::current()) {
  const int lane = lane_index();
  return value_of_lane(value, lane + below < kWarp ? lane + below : lane, where);
}
template <class T>
T broadcast(T value, int lane, const Here& where = Here::current()) {
  return value_of_lane(value, lane % kWarp, where);
}
inline uint32_t votes(bool vote, const Here& where = Here::current()) {
  const uint64_t* all = emulator::exchange_in_warp(vote, where);
  uint32_t bits = 0;
  for (int lane = 0; lane < kWarp; ++lane) bits |= uint32_t(all[lane]) << lane;
  return bits;
}

template <class S>
S& shared() {
  return *reinterpret_cast<S*>(emulator::shared_memory(int64_t(sizeof(S))));
}

inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float square_root(float a) { return std::sqrt(a); }
inline float round_even(float a) { return __builtin_rintf(a); }
inline int to_int(float a) {
  if (!(a == a)) return 0;
  if (a >= 0x1p31f) return INT32_MAX;
  return a < -0x1p31f ? INT32_MIN : int(std::rint(a));
}
inline uint32_t bits_of(float a) { return std::bit_cast<uint32_t>(a); }
inline float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint64_t bits_of(double a) { return std::bit_cast<uint64_t>(a); }
inline double double_of(uint64_t bits) { return std::bit_cast<double>(bits); }

inline int32_t atomic_min(int32_t* at, int32_t value) {
  int32_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (value < seen && !__atomic_compare_exchange_n(at, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return seen;
}
inline void atomic_add(int64_t* at, int64_t value) { __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }
inline void atomic_max(int64_t* at, int64_t value) {
  int64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (value > seen && !__atomic_compare_exchange_n(at, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}
template <class T>
void store_same(T* at, T value) {
  __atomic_store(at, &value, __ATOMIC_RELAXED);
}

}  // namespace hadal::kernels::cuda
