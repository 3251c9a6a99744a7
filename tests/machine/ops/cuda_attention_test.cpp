// Attention on the emulated device: its outputs and gradients have AVX2's bits, which engine and trainer on a GPU stand
// on.
#include <gtest/gtest.h>

#include "attention_fixture.h"
#include "kernels/places_fixture.h"

namespace hadal::attention_tests {
namespace {

using kernels_test::ExecAt;
using kernels_test::Place;

// Heads that share nothing, keys or both; groups of heads of several; segments with a prefix, of one token, ragged; two
// chunks of a head; more columns than a warp walks at once.
std::vector<Sizes> grid() {
  const std::vector<Segment> mixed = {{0, 1, 2, 1}, {1, 5, 3, 5}, {7, 70, 8, 200}};
  return {{3, 5, 3, 7, false, mixed, 78, 210},
          {3, 5, 3, 5, true, mixed, 78, 210},
          {11, 17, 6, 17, true, {{0, 67, 0, 67}, {67, 3, 67, 67}}, 70, 134},
          {2, 128, 64, 128, false, {{0, 129, 0, 129}}, 129, 129},
          {2, 150, 10, 66, false, {{0, 40, 0, 104}}, 40, 104},
          {9, 16, 8, 16, true, {{0, 1, 0, 130}, {1, 1, 130, 64}, {2, 0, 194, 3}}, 2, 200}};
}

Place device() { return {Isa::reference, true}; }
bool device_is_there() { return kernels_test::places().back().on_device; }

TEST(CudaAttention, HasTheBitsOfAvx2UnderEverySchedule) {
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "this machine does not run AVX2";
  if (!device_is_there()) GTEST_SKIP() << "there is no device";
  for (int schedule = 1; schedule <= (kernels_test::kDeviceStride > 1 ? 1 : 2); ++schedule) {
    const ExecAt here(Place{Isa::avx2}, 1), there(device(), schedule);
    for (const Sizes& sizes : grid()) {
      if (kernels_test::kDeviceStride > 1 && sizes.q_rows > 80) continue;
      for (const DType dtype : {DType::f32, DType::bf16}) {
        SCOPED_TRACE(std::to_string(sizes.heads) + " heads of " + std::to_string(sizes.d_nope) + " " +
                     dtype_name(dtype));
        const Problem problem(here.exec, sizes, dtype);
        Results want, got;
        problem.forward(here.exec, want);
        problem.forward(there.exec, got);
        EXPECT_TRUE(same_bits(got.o, want.o));
        EXPECT_TRUE(same_bits(got.lse, want.lse));
        problem.backward(here.exec, want);
        problem.backward(there.exec, got);
        EXPECT_TRUE(same_bits(got.dq, want.dq));
        EXPECT_TRUE(same_bits(got.dkv, want.dkv) && same_bits(got.dv_latent, want.dv_latent));
        EXPECT_TRUE(same_bits(got.dk_rope, want.dk_rope));
      }
    }
  }
}

TEST(CudaAttention, RefusesHeadsThatAreTooWideAndFp64ByName) {
  if (!device_is_there()) GTEST_SKIP() << "there is no device";
  const ExecAt there(device(), 1);
  const auto error_of = [&](const Sizes& sizes, DType dtype) -> std::string {
    const Problem problem(there.exec, sizes, DType::f32);
    try {
      Results r;
      Problem same = problem;
      same.dtype = dtype;
      if (dtype == DType::f64) same = Problem(OwnedExec(1).exec, sizes, dtype);
      same.forward(there.exec, r);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(error_of({1, 700, 0, 8, false, {{0, 1, 0, 1}}, 1, 1}, DType::f32),
            "kernel 'attention_forward': heads of 700 and 8 elements; on a GPU at most 640");
  EXPECT_EQ(error_of({1, 8, 0, 8, false, {{0, 1, 0, 1}}, 1, 1}, DType::f64),
            "kernel 'attention_forward' takes F32 and BF16 on a GPU, not F64");
}

}  // namespace
}  // namespace hadal::attention_tests
