// What this machine can do, measured in the run that is judged by it: fused multiply-adds from registers, per
// instruction set, in FP32 and in products of bf16 pairs; memory read and written by plain vector code. One to n
// threads.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/clock.h"
#include "base/isa.h"
#include "base/memory.h"
#include "base/read_probe.h"
#include "base/thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hadal::bench {

// Best seconds of `body` over about `budget` seconds: the machine's noise only ever adds.
template <class Body>
double best_seconds(Body&& body, double budget = 0.3) {
  double best = 1e30;
  const double end = steady_seconds() + budget;
  do {
    const double start = steady_seconds();
    body();
    best = std::min(best, steady_seconds() - start);
  } while (steady_seconds() < end);
  return best;
}

namespace peak_detail {

constexpr int64_t kLoops = 200000;

#if defined(__x86_64__)
using Eight = float __attribute__((vector_size(32)));
using Sixteen = float __attribute__((vector_size(64)));
struct MultiplyAdd {
  static constexpr double kFlops = 2;  // per lane
  template <class V>
  static __attribute__((always_inline)) void step(V& sum, const V& a, const V& b) {
    asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};
struct DotPairs {
  static constexpr double kFlops = 4;
  template <class V>
  static __attribute__((always_inline)) void step(V& sum, const V& a, const V& b) {
    asm volatile("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};
// Enough independent sums to hide the latency of any of these CPUs.
template <class Step, class V, int kSums>
__attribute__((always_inline)) inline double loop_of() {
  V sums[kSums], a = V{} + 1e-3f, b = V{} + 1.0f;
#pragma GCC unroll 24
  for (int j = 0; j < kSums; ++j) sums[j] = V{};
  for (int64_t i = 0; i < kLoops; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kSums; ++j) Step::step(sums[j], a, b);
  }
  return double(kLoops) * kSums * double(sizeof(V) / 4) * Step::kFlops;
}
__attribute__((target("avx2,fma"))) inline double fma_avx2() { return loop_of<MultiplyAdd, Eight, 12>(); }
__attribute__((target("avx512f"))) inline double fma_avx512() { return loop_of<MultiplyAdd, Sixteen, 24>(); }
__attribute__((target("avx512f,avx512bf16"))) inline double dot_avx512_bf16() {
  return loop_of<DotPairs, Sixteen, 24>();
}
// Four tiles of sums of 16 x 16, 32 products of bf16 to each of them at a time.
__attribute__((target("amx-tile,amx-bf16"))) inline double multiply_tiles() {
  struct alignas(64) Configuration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } configuration;
  asm volatile("ldtilecfg %0" ::"m"(configuration));
  for (int64_t i = 0; i < kLoops; ++i) {
    asm volatile(
        "tdpbf16ps %tmm7, %tmm4, %tmm0\n tdpbf16ps %tmm6, %tmm4, %tmm1\n"
        "tdpbf16ps %tmm7, %tmm5, %tmm2\n tdpbf16ps %tmm6, %tmm5, %tmm3");
  }
  asm volatile("tilerelease");
  return double(kLoops) * 4 * 16 * 16 * 32 * 2;
}
#endif
inline double fma_plain() {
  float s[8] = {}, a = 1e-3f, b = 1.0f;
  for (int64_t i = 0; i < kLoops; ++i) {
    asm volatile("" : "+m"(a), "+m"(b));
    for (float& x : s) x += a * b;
  }
  asm volatile("" ::"m"(s));
  return double(kLoops) * 8 * 2;
}

}  // namespace peak_detail

// GFLOP/s of multiply-adds from registers: the best of samples of `window` seconds each (at least one loop), for about
// `budget` seconds. What runs for long must be judged by a window as long: on a shared machine the cores are all there
// for a few hundred microseconds, but seldom for a tenth of a second. bf16_pairs counts only where the instruction set
// has them, else FP32's.
inline double peak_gflops(ThreadPool& pool, Isa isa, bool bf16_pairs, double budget = 0.1, double window = 0) {
  double (*loop)() = peak_detail::fma_plain;
#if defined(__x86_64__)
  if (isa == Isa::avx2) loop = peak_detail::fma_avx2;
  if (isa >= Isa::avx512) loop = peak_detail::fma_avx512;
  if (isa == Isa::avx512_bf16 && bf16_pairs) loop = peak_detail::dot_avx512_bf16;
  if (isa == Isa::avx512_amx && bf16_pairs) loop = peak_detail::multiply_tiles;
#endif
  std::vector<double> flops(size_t(pool.n_threads()) * 8);
  double best = 0;
  const double end = steady_seconds() + budget;
  do {
    const double start = steady_seconds();
    pool.parallel_for(pool.n_threads(), [&](int64_t i, int) {
      double& done = flops[size_t(i) * 8];
      done = 0;
      do done += loop();
      while (steady_seconds() < start + window);
    });
    const double seconds = steady_seconds() - start;
    double sum = 0;
    for (int i = 0; i < pool.n_threads(); ++i) sum += flops[size_t(i) * 8];
    best = std::max(best, sum / seconds * 1e-9);
  } while (steady_seconds() < end);
  return best;
}

struct Bandwidth {
  double read = 0, write = 0;  // GB/s
};

// Reads, and memset for stores.
inline Bandwidth memory_bandwidth(ThreadPool& pool) {
  ReadProbe probe(pool);
  Bandwidth result;
  best_seconds([&] { result.read = std::max(result.read, probe.rate()); });
  const int64_t parts = pool.n_threads() * 8, part = ReadProbe::kBytes / parts;
  result.write = 1e-9 * double(ReadProbe::kBytes) / best_seconds([&] {
                   pool.parallel_for(parts, [&](int64_t i, int) {
                     std::memset(static_cast<char*>(probe.buffer()) + i * part, int(i), size_t(part));
                   });
                 });
  return result;
}

}  // namespace hadal::bench
