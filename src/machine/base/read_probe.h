// How fast memory is read, which bounds all work that reads much and computes little: decoding a few texts at a time.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread_pool.h"

namespace hadal {

// Memory read as fast as plain code can: a buffer of large pages, far larger than any cache, in contiguous parts of a
// task each, of which four runs are read side by side and asked for ahead.
class ReadProbe {
 public:
  explicit ReadProbe(ThreadPool& pool) : pool_(pool), parts_(pool.n_threads() * 8), sums_(size_t(parts_) * 8) {
    std::memset(buffer_.get(), 1, size_t(kBytes));
  }
  double rate() {  // GB/s of one pass
    const double start = steady_seconds();
    const int64_t run = kBytes / parts_ / kRuns;
    pool_.parallel_for(parts_, [&](int64_t i, int) {
      const char* p = static_cast<const char*>(buffer_.get()) + i * kRuns * run;
      Words sums[kRuns] = {};
      for (int64_t at = 0; at < run; at += 64) {
#pragma GCC unroll 4
        for (int64_t r = 0; r < kRuns; ++r) {
          __builtin_prefetch(p + r * run + at + 2048);
#pragma GCC unroll 4
          for (int64_t c = 0; c < 64; c += 16) sums[r] ^= *reinterpret_cast<const Words*>(p + r * run + at + c);
        }
      }
      const Words all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
      sums_[size_t(i) * 8] = all[0] ^ all[1];
    });
    return 1e-9 * double(kBytes) / (steady_seconds() - start);
  }
  void* buffer() { return buffer_.get(); }
  static constexpr int64_t kBytes = int64_t(256) << 20;

 private:
  using Words = uint64_t __attribute__((vector_size(16), may_alias));
  static constexpr int64_t kRuns = 4;
  ThreadPool& pool_;
  int64_t parts_;
  std::shared_ptr<void> buffer_ = MemoryPool::create()->allocate(size_t(kBytes));
  std::vector<uint64_t> sums_;
};

// In bytes a second: the fastest of some passes, which together take a fraction of a second.
inline double memory_read_speed(ThreadPool& pool) {
  ReadProbe probe(pool);
  double best = 0;
  for (int pass = 0; pass < 4; ++pass) best = std::max(best, 1e9 * probe.rate());
  return best;
}

}  // namespace hadal
