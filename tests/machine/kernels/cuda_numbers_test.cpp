// The arithmetic of the device's kernels: exponentials have AVX2's bits, logarithms are those of FP64 rounded.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "cuda_emulator/device.h"
#include "kernels/cuda/numbers.h"
#include "kernels/places_fixture.h"
#include "kernels/swiglu.h"

namespace hadal::kernels::cuda {
namespace {

// Numbers of every exponent and sign, infinities and NaN among them.
std::vector<float> every_kind_of_number() {
  std::vector<float> all;
  for (uint32_t high = 0; high < 0x10000; ++high)
    for (uint32_t low : {0u, 0x3001u, 0x9c4du}) all.push_back(std::bit_cast<float>(high << 16 | low));
  return all;
}

TEST(CudaNumbers, ExponentialsHaveTheBitsOfAvx2) {
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "this machine does not run AVX2";
  const std::vector<float> g = every_kind_of_number(), u(g.size(), 1.0f);
  const auto n = int64_t(g.size());
  const auto silu = [&](const kernels_test::Place& place) {
    const kernels_test::ExecAt at(place, 1);
    std::vector<float> h(g.size());
    swiglu(at.twin(), {.h = {h.data(), n},
                       .g = {const_cast<float*>(g.data()), n},
                       .u = {const_cast<float*>(u.data()), n},
                       .rows = 1,
                       .cols = n,
                       .lane = at.exec.compute});
    return h;
  };
  const std::vector<float> want = silu({Isa::avx2}), got = silu({Isa::reference, true});
  for (size_t i = 0; i < g.size(); ++i) {
    if (std::isnan(want[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << g[i];
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << g[i];
    }
  }
}

__global__ void logarithms(const float* x, float* y, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += block_threads()) y[i] = logarithm(x[i]);
}

TEST(CudaNumbers, LogarithmsAreThoseOfFp64Rounded) {
  emulator::Device::get().begin(1);
  const std::vector<float> x = every_kind_of_number();
  std::vector<float> y(x.size());
  const auto bytes = int64_t(4 * x.size());
  const DeviceStream stream = make_stream();
  auto *from = static_cast<float*>(allocate(bytes)), *to = static_cast<float*>(allocate(bytes));
  copy_to_device(from, x.data(), bytes, stream);
  launch(logarithms, {.name = "logarithms", .stream = stream}, from, to, int64_t(x.size()));
  copy_to_host(y.data(), to, bytes, stream);
  close_stream(stream);
  release(from), release(to);
  for (size_t i = 0; i < x.size(); ++i) {
    const float want = float(std::log(double(x[i])));
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(y[i])) << x[i];
    } else {
      ASSERT_EQ(y[i], want) << x[i];
    }
  }
}

}  // namespace
}  // namespace hadal::kernels::cuda
