// What runs beside threads on the emulated device: one product works under every schedule, and each fault that the
// emulator is there to find is planted in it once, and shows or is named.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/bf16.h"
#include "base/expect_error.h"
#include "cuda_emulator/device.h"
#include "cuda_emulator/planted.h"
#include "kernels/cuda/hopper/asynchronous.h"

namespace hadal::kernels::cuda {
namespace {

using emulator::expect_failure;
using emulator::failure;

constexpr uint64_t kSeeds = 20;

enum class Fault {
  none,
  not_waited_for_copy,
  phase_that_never_ends,
  wrong_bytes,
  too_many_arrivals,
  never_begun,
  overwritten,
  no_fence_after_threads,
  no_begin,
  sums_read_early,
  sums_written_early,
  products_not_waited_for,
  different_products,
  ended_during_copy,
  odd_box,
  other_swizzle,
  outside,
  warp_alone,
};

struct Tiles {
  uint8_t a[kBoxBytes], b[2][kBoxBytes];
  PhaseBarrier come, never;
};

// out [64, 128] = A [64, 16] times the 16 first columns of B [128, 64], of ones and twos; the second row of A is
// written by threads.
template <Fault kFault>
__global__ void multiply_once(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* out) {
  auto& s = shared<Tiles>();
  const int t = thread_index();
  if (t == 0) {
    begin(s.come, 1);
    barriers_are_ready();
    if (kFault == Fault::overwritten) std::memset(&s.come, 0, sizeof s.come);
    arrive_expecting(kFault == Fault::never_begun ? s.never : s.come,
                     kFault == Fault::wrong_bytes ? 3 * kBoxBytes + 16 : 3 * kBoxBytes);
    if (kFault == Fault::too_many_arrivals) arrive(s.come);
    copy_box(kFault == Fault::odd_box ? s.a + 128 : s.a, a, {0, 0, 0}, s.come);
    copy_box(s.b[0], b, {0, 0, 0}, s.come), copy_box(s.b[1], b, {0, 64, 0}, s.come);
  }
  block_barrier();
  if (kFault == Fault::ended_during_copy) return;
  if (kFault != Fault::not_waited_for_copy) wait_for_phase(s.come, 0);
  if (kFault == Fault::phase_that_never_ends) wait_for_phase(s.come, 1);
  if (t < 16) *reinterpret_cast<uint16_t*>(s.a + swizzled(128u + 2u * uint32_t(t))) = bf16(5.0f).bits;
  if (kFault != Fault::no_fence_after_threads) fence_for_copies();
  block_barrier();
  float sum[kOwnElements] = {};
  if (kFault == Fault::warp_alone && t >= 32) return;
  if (kFault != Fault::no_begin) begin_products();
  const uint64_t left = descriptor({.address = shared_address(s.a), .leading = kBoxBytes, .stride = 1024});
  const uint64_t right = descriptor({.address = shared_address(s.b) + (kFault == Fault::outside ? kBoxBytes : 0u),
                                     .leading = kBoxBytes,
                                     .stride = 1024,
                                     .swizzled_128 = kFault != Fault::other_swizzle});
  multiply_async<Major::k, Major::k>(sum, left, kFault == Fault::different_products && t == 5 ? left : right, false);
  end_products();
  if (kFault == Fault::sums_written_early) sum[3] += 1;
  if (kFault != Fault::sums_read_early && kFault != Fault::products_not_waited_for) wait_for_products<0>();
  for (int i = 0; i < kOwnElements; ++i) out[product_row(t, i) * kProductCols + product_col(t, i)] = sum[i];
  if (kFault == Fault::sums_read_early) wait_for_products<0>();
}

// Of [64, 128] elements: how many are wrong.
template <Fault kFault>
int64_t wrong(uint64_t seed) {
  emulator::Device::get().begin(seed);
  const DeviceStream stream = make_stream();
  std::vector<uint16_t> a(64 * 64), b(128 * 64);
  for (size_t i = 0; i < a.size(); ++i) a[i] = bf16(float(1 + i / 64 % 3)).bits;
  for (size_t i = 0; i < b.size(); ++i) b[i] = bf16(float(i % 64 + i / 64 % 5)).bits;
  std::vector<float> out(64 * 128);
  auto* a_there = static_cast<uint16_t*>(allocate(int64_t(a.size() * 2)));
  auto* b_there = static_cast<uint16_t*>(allocate(int64_t(b.size() * 2)));
  auto* out_there = static_cast<float*>(allocate(int64_t(out.size() * 4)));
  try {
    copy_to_device(a_there, a.data(), int64_t(a.size() * 2), stream);
    copy_to_device(b_there, b.data(), int64_t(b.size() * 2), stream);
    launch(multiply_once<kFault>,
           {.name = "multiply_once", .threads = kWarpgroup, .shared_bytes = sizeof(Tiles), .stream = stream},
           tensor_map({a_there, 64, 64, 1, 64, 0}), tensor_map({b_there, 64, 128, 1, 64, 0}), out_there);
    copy_to_host(out.data(), out_there, int64_t(out.size() * 4), stream);
    wait_for(stream);
  } catch (...) {
    for (void* p : {static_cast<void*>(a_there), static_cast<void*>(b_there), static_cast<void*>(out_there)})
      release(p);
    close_stream(stream);
    throw;
  }
  for (void* p : {static_cast<void*>(a_there), static_cast<void*>(b_there), static_cast<void*>(out_there)}) release(p);
  close_stream(stream);
  int64_t wrong = 0;
  for (int i = 0; i < 64 * 128; ++i) {
    const int row = i / 128, col = i % 128;
    const int factor = row == 1 ? 5 : 1 + row % 3;
    wrong += !(out[size_t(i)] == float(factor * (120 + 16 * (col % 5))));
  }
  return wrong;
}

template <Fault kFault>
void expect_named(const char* message) {
  for (uint64_t seed = 0; seed < 5; ++seed) expect_failure([&] { wrong<kFault>(seed); }, message);
}

TEST(CudaAsynchronous, MultipliesWhatWasCopiedAndWrittenUnderEverySchedule) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) EXPECT_EQ(wrong<Fault::none>(seed), 0) << seed;
}

TEST(CudaAsynchronous, ShowsWhatWasNotWaitedForNorFenced) {
  int seen = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    seen += failure([&] { check(wrong<Fault::not_waited_for_copy>(seed) == 0, ErrorKind::internal, "seen"); }) !=
            "no error";  // under some schedules luck ends the copies in time
    EXPECT_EQ(wrong<Fault::no_fence_after_threads>(seed), 128) << seed;
    EXPECT_EQ(wrong<Fault::sums_read_early>(seed), 64 * 128) << seed;
    EXPECT_GT(wrong<Fault::other_swizzle>(seed), 0) << seed;
  }
  EXPECT_GT(seen, int(kSeeds) / 2);
  seen = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed)
    seen += failure([&] { wrong<Fault::ended_during_copy>(seed); }).find("the block ended while") != std::string::npos;
  EXPECT_GT(seen, int(kSeeds) / 2);
}

TEST(CudaAsynchronous, NamesBarriersThatLackOrHaveTooMuch) {
  expect_named<Fault::phase_that_never_ends>(
      "deadlock: threads 0-127 wait for a phase of parity 1 (in phase 1, 1 of 1 arrivals and 0 bytes are missing)");
  expect_named<Fault::wrong_bytes>(
      "deadlock: threads 0-127 wait for a phase of parity 0 (in phase 0, 0 of 1 arrivals and 16 bytes are missing)");
  expect_named<Fault::too_many_arrivals>("a barrier gets more than the 1 arrivals of its phase");
  expect_named<Fault::never_begun>("of shared memory was never begun, or was overwritten");
  expect_named<Fault::overwritten>("of shared memory was never begun, or was overwritten");
}

TEST(CudaAsynchronous, NamesProductsAndCopiesThatAreWrong) {
  expect_named<Fault::no_begin>("issues a product without begin_products()");
  expect_named<Fault::sums_written_early>("wrote to sum 3 of a product under way");
  expect_named<Fault::products_not_waited_for>("the block ended");
  expect_named<Fault::different_products>("threads of a warpgroup issue different products");
  expect_named<Fault::odd_box>("a box at byte 128 of");
  expect_named<Fault::outside>("an operand of a product at byte");
  expect_named<Fault::warp_alone>(
      "wait for a product that 32 of 128 threads have issued at cuda_asynchronous_test.cpp:");
}

TEST(CudaAsynchronous, RefusesMatricesThatCopiesDoNotTake) {
  void* memory = allocate(1 << 16);
  const auto map = [&](int64_t offset, int64_t stride, int64_t rows) {
    return [=] { tensor_map({static_cast<char*>(memory) + offset, 8, rows, 1, stride, 0}); };
  };
  EXPECT_EQ(failure(map(0, 64, 8)), "no error");
  expect_failure(map(8, 64, 8), "expected multiples of 16 bytes");
  expect_failure(map(0, 60, 8), "expected multiples of 16 bytes");
  expect_failure(map(0, 64, 0), "expected 1 to 2^31 - 2 of each");
  expect_failure(map(0, 64, 1 << 10), "tensor map: 130960 bytes from byte 0 on, of 65536 bytes of memory");
  release(memory);
}

}  // namespace
}  // namespace hadal::kernels::cuda
