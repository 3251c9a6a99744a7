// The emulated device itself: what a kernel may do works under every schedule, and each fault that it is there to find
// is planted once and named.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "base/expect_error.h"
#include "cuda_emulator/device.h"
#include "cuda_emulator/planted.h"
#include "kernels/cuda/hopper/simt.h"

namespace hadal::kernels::cuda {
namespace {

using emulator::expect_failure;
using emulator::failure;

constexpr uint64_t kScheduleSeeds = 20;

// A stream, and device memory filled from the host; both end with the test.
struct Bench {
  explicit Bench(uint64_t seed = 1, bool shuffled = true) {
    emulator::Device::get().begin(seed, shuffled);
    stream = make_stream();
  }
  ~Bench() {
    close_stream(stream);
    for (void* p : owned) release(p);
  }
  template <class T>
  T* upload(const std::vector<T>& values) {
    auto* p = static_cast<T*>(allocate(int64_t(values.size() * sizeof(T))));
    owned.push_back(p);
    copy_to_device(p, values.data(), int64_t(values.size() * sizeof(T)), stream);
    wait_for(stream);
    return p;
  }
  template <class T>
  std::vector<T> download(const T* p, size_t n) {
    std::vector<T> values(n);
    copy_to_host(values.data(), p, int64_t(n * sizeof(T)), stream);
    wait_for(stream);
    return values;
  }
  DeviceStream stream;
  std::vector<void*> owned;
};

// ---- barriers and shared memory -----------------------------------------------------------------------------------

struct Tile {
  float values[256];
};

// Turns each block's values round, through shared memory. kFault leaves a barrier out.
template <int kFault>
__global__ void turn_round(float* x, int rounds) {
  auto& tile = shared<Tile>();
  float* mine = x + block_index() * block_threads();
  const int t = thread_index();
  for (int i = 0; i < rounds; ++i) {
    tile.values[t] = mine[t];
    if (kFault != 1) block_barrier();
    const float other = tile.values[block_threads() - 1 - t];
    if (kFault != 2) block_barrier();
    mine[t] = other + 1;
  }
}

template <int kFault>
int64_t wrong_after_turns(uint64_t seed) {
  Bench bench(seed);
  std::vector<float> x(3 * 128);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  float* p = bench.upload(x);
  launch(turn_round<kFault>,
         {.name = "turn_round", .blocks = 3, .threads = 128, .shared_bytes = sizeof(Tile), .stream = bench.stream}, p,
         4);
  const std::vector<float> y = bench.download(p, x.size());
  int64_t wrong = 0;
  for (size_t i = 0; i < x.size(); ++i) wrong += !(y[i] == x[i] + 4);  // an even number of turns
  return wrong;
}

TEST(CudaEmulator, KeepsBlocksInStepAtBarriersUnderEverySchedule) {
  for (uint64_t seed = 0; seed < kScheduleSeeds; ++seed) EXPECT_EQ(wrong_after_turns<0>(seed), 0) << seed;
}

// Without the first barrier a thread reads what was not yet written, without the second it writes over what was not
// yet read. The thread sanitizer names the lines.
TEST(CudaEmulator, ShowsEachMissingBarrierUnderEverySchedule) {
#if defined(__SANITIZE_THREAD__)
  EXPECT_RACE(wrong_after_turns<1>(1));
  EXPECT_RACE(wrong_after_turns<2>(1));
#else
  for (uint64_t seed = 0; seed < kScheduleSeeds; ++seed) {
    EXPECT_GT(wrong_after_turns<1>(seed), 0) << seed;
    EXPECT_GT(wrong_after_turns<2>(seed), 0) << seed;
  }
#endif
}

__global__ void count_threads(int64_t* counts) {
  if (thread_index() >= block_threads() / 2) atomic_add(&counts[block_index()], 1);
  atomic_add(&counts[grid_blocks()], lane_index() == 0 ? 1 + warp_index() : 0);
}

TEST(CudaEmulator, KnowsWhoAndWhereAThreadIs) {
  Bench bench;
  int64_t* p = bench.upload(std::vector<int64_t>(6));
  launch(count_threads, {.name = "count_threads", .blocks = 5, .threads = 96, .stream = bench.stream}, p);
  EXPECT_EQ(bench.download(p, 6), (std::vector<int64_t>{48, 48, 48, 48, 48, 5 * (1 + 2 + 3)}));
}

__global__ void read_unwritten(float* out) { out[thread_index()] = shared<Tile>().values[thread_index()]; }

TEST(CudaEmulator, GivesABlockSharedMemoryThatIsNotANumber) {
  Bench bench;
  float* p = bench.upload(std::vector<float>(64));
  launch(read_unwritten,
         {.name = "read_unwritten", .blocks = 2, .threads = 64, .shared_bytes = sizeof(Tile), .stream = bench.stream},
         p);
  for (const float x : bench.download(p, 64)) EXPECT_TRUE(x != x);
}

// ---- deadlocks and faults inside kernels ----------------------------------------------------------------------------

__global__ void half_at_the_barrier(int64_t* out) {
  if (thread_index() < 32) return;
  if (thread_index() < 64 || thread_index() == 70)
    block_barrier();
  else
    broadcast(thread_index(), 0);
  out[0] = 1;
}

TEST(CudaEmulator, NamesWhoWaitsForWhatWhenABarrierIsNotReachedByAll) {
  Bench bench(7);
  int64_t* p = bench.upload(std::vector<int64_t>{0});
  const std::string text = failure([&] {
    launch(half_at_the_barrier, {.name = "half", .blocks = 2, .threads = 96, .stream = bench.stream}, p);
    wait_for(bench.stream);
  });
  EXPECT_NE(text.find("kernel 'half', block "), std::string::npos) << text;
  EXPECT_NE(text.find("seed 7: deadlock: threads 0-31 have ended; threads 32-63 70 wait at a block barrier at "
                      "cuda_emulator_test.cpp:"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("; threads 64-69 71-95 wait at a warp exchange at cuda_emulator_test.cpp:"), std::string::npos)
      << text;
  EXPECT_EQ(bench.download(p, 1)[0], 0);  // the emulator goes on, and nobody came past
}

__global__ void lanes_gone(int* out) {
  if (thread_index() % 2) return;
  out[0] = shuffle_down(1, 1);
}

TEST(CudaEmulator, NamesAShuffleWithLanesThatAreGone) {
  Bench bench;
  int* p = bench.upload(std::vector<int>{0});
  expect_failure(
      [&] {
        launch(lanes_gone, {.name = "lanes_gone", .threads = 32, .stream = bench.stream}, p);
        wait_for(bench.stream);
      },
      "deadlock: threads 0 2 4 6");
}

__global__ void two_barriers(int* out) {
  if (thread_index() % 3) {
    block_barrier();
  } else {
    block_barrier();
  }
  out[0] = 1;
}

TEST(CudaEmulator, RefusesABarrierThatThreadsReachFromDifferentLines) {
  Bench bench;
  int* p = bench.upload(std::vector<int>{0});
  expect_failure(
      [&] {
        launch(two_barriers, {.name = "two_barriers", .threads = 64, .stream = bench.stream}, p);
        wait_for(bench.stream);
      },
      "others are at one at cuda_emulator_test.cpp:");
}

struct Counted {
  explicit Counted(std::atomic<int>& count) : count(count) { ++count; }
  ~Counted() { --count; }
  std::atomic<int>& count;
};
std::atomic<int> alive = 0;  // on threads of one kernel, below

__global__ void check_inside(int bad) {
  const Counted counted(alive);
  block_barrier();
  check(thread_index() != bad, ErrorKind::corrupt, "thread {} met a bad value", thread_index());
  block_barrier();
}

TEST(CudaEmulator, EndsALaunchWhoseKernelThrowsAndUnwindsItsThreads) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Bench bench(seed);
    const auto run = [&](int bad) {
      launch(check_inside, {.name = "check_inside", .blocks = 3, .threads = 64, .stream = bench.stream}, bad);
      wait_for(bench.stream);
    };
    EXPECT_ERROR(run(17), ErrorKind::corrupt, "thread 17 met a bad value");
    EXPECT_EQ(alive, 0);
    run(-1);
    EXPECT_EQ(alive, 0);
  }
}

// ---- warps ----------------------------------------------------------------------------------------------------------

__global__ void warp_words(int* out, double* sums) {
  const int lane = lane_index(), t = thread_index();
  int* mine = out + t * 4;
  mine[0] = shuffle_xor(t, 5);
  mine[1] = shuffle_down(t, 3);
  mine[2] = broadcast(t, 9);
  mine[3] = int(votes(lane % 3 == 1));
  double sum = t;
  for (int bits = 16; bits > 0; bits /= 2) sum += shuffle_xor(sum, bits);
  sums[t] = sum;
}

TEST(CudaEmulator, ShufflesAndVotesInsideEachWarp) {
  for (uint64_t seed = 0; seed < kScheduleSeeds; ++seed) {
    Bench bench(seed);
    int* out = bench.upload(std::vector<int>(64 * 4));
    double* sums = bench.upload(std::vector<double>(64));
    launch(warp_words, {.name = "warp_words", .threads = 64, .stream = bench.stream}, out, sums);
    const auto words = bench.download(out, 64 * 4);
    const auto totals = bench.download(sums, 64);
    for (int t = 0; t < 64; ++t) {
      EXPECT_EQ(words[size_t(t) * 4], t ^ 5);
      EXPECT_EQ(words[size_t(t) * 4 + 1], t % 32 + 3 < 32 ? t + 3 : t);
      EXPECT_EQ(words[size_t(t) * 4 + 2], t / 32 * 32 + 9);
      EXPECT_EQ(uint32_t(words[size_t(t) * 4 + 3]), 0x92492492u);
      EXPECT_EQ(totals[size_t(t)], t < 32 ? 31 * 16 : 31 * 16 + 32 * 32);
    }
  }
}

}  // namespace
}  // namespace hadal::kernels::cuda
