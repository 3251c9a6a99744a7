// A row has the same bits whatever the number of rows around it: all numbers from 1 to 300 of products in FP32 and
// BF16, of an expert's rows, and of attention's queries, each under a schedule of its own.
#include <gtest/gtest.h>

#include <cstring>

#include "cuda_staged/device_rig.h"
#include "kernels/places_fixture.h"
#include "ops/attention.h"
#include "ops/matmul.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {

using namespace rows_test;

constexpr int64_t kMost = 300;

// Rows of a result on the host, from `first` on.
bool same_rows(const Tensor& few, const Tensor& all, int64_t first = 0) {
  const int64_t row_bytes = all.cols() * dtype_bytes(all.dtype());
  return few.cols() == all.cols() &&
         std::memcmp(few.raw(), static_cast<const char*>(all.raw()) + first * row_bytes, size_t(few.bytes())) == 0;
}

class CudaRows : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!staged::device_is_there()) GTEST_SKIP() << "no device";
    rig = std::make_unique<staged::DeviceRig>(1);
  }
  const Exec& exec() const { return rig->exec; }
  Tensor random(DType dtype, int64_t rows, int64_t cols, uint64_t seed) const {
    Mat values = random_mat(rows, cols, seed);
    OwnedExec host(1, Isa::reference);
    return make(host.exec, dtype, values).to(exec(), dtype);
  }
  // f(m) for every number of rows.
  template <class F>
  void each_number(F f) const {
    for (int64_t m = 1; m <= kMost; m += kernels_test::kDeviceStride * kernels_test::kDeviceStride) {
      staged::begin_schedule(uint64_t(m));
      f(m);
      if (::testing::Test::HasFailure()) return;
    }
  }
  void expect_products(DType dtype, int64_t n, int64_t k) const {
    const Tensor x = random(dtype, kMost, k, 1), w = random(dtype, n, k, 2);
    const auto multiply = [&](int64_t m) {
      const Tensor y = Tensor::empty(exec(), dtype, {m, n});
      ops::linear(exec(), y, x.row_range(0, m), w);
      return host_copy(y);
    };
    const Tensor all = multiply(kMost);
    each_number([&](int64_t m) { EXPECT_TRUE(same_rows(multiply(m), all)) << m << " rows"; });
  }
  std::unique_ptr<staged::DeviceRig> rig;
};

TEST_F(CudaRows, OfProductsInFp32DoNotKnowHowManyTheyAre) { expect_products(DType::f32, 8, 136); }

TEST_F(CudaRows, OfProductsInBf16DoNotKnowHowManyTheyAre) { expect_products(DType::bf16, 16, 16); }

// Two experts share all rows, divided at every place.
TEST_F(CudaRows, OfAnExpertDoNotKnowHowManyTheyAre) {
  const int64_t n = 8, k = 136;
  const Tensor x = random(DType::f32, kMost, k, 1), w = random(DType::f32, 2 * n, k, 2).view({2, n, k});
  const auto multiply = [&](int32_t first) {
    const Tensor y = Tensor::empty(exec(), DType::f32, {kMost, n});
    ops::grouped_linear(exec(), y, x, w, Tensor::from(exec(), std::vector<int32_t>{0, first, int32_t(kMost)}, {3}));
    return host_copy(y);
  };
  const Tensor of_first = multiply(kMost), of_second = multiply(0);
  each_number([&](int64_t m) {
    const Tensor y = multiply(int32_t(m));
    EXPECT_TRUE(same_rows(y.row_range(0, m), of_first)) << m << " rows";
    EXPECT_TRUE(same_rows(y.row_range(m, kMost - m), of_second, m)) << m << " rows before them";
  });
}

// Queries of a prefix, and the last ones of a text whose first keys lie in a cache.
TEST_F(CudaRows, OfAttentionDoNotKnowHowManyTheyAre) {
  const int64_t nope = 8, rope = 4, v = 8;
  const Tensor q = random(DType::f32, kMost, nope + rope, 1), kv = random(DType::f32, kMost, nope + v, 2),
               k_rope = random(DType::f32, kMost, rope, 3);
  const auto attend = [&](int64_t first, int64_t m) {
    const std::vector<ops::Segment> segments = {{0, m, 0, first + m}};
    ops::AttentionInputs in;
    in.q = q.row_range(first, m), in.k_nope = kv.col_range(0, nope), in.v = kv.col_range(nope, v), in.k_rope = k_rope;
    in.k_head_stride = in.v_head_stride = nope + v;
    in.n_heads = 1, in.d_nope = nope, in.d_rope = rope, in.d_v = v, in.scale = 0.3, in.segments = &segments;
    const Tensor o = Tensor::empty(exec(), DType::f32, {m, v}), lse = Tensor::empty(exec(), DType::f32, {m, 1});
    ops::attention_forward(exec(), in, o, lse);
    return host_copies({o, lse});
  };
  const auto all = attend(0, kMost);
  each_number([&](int64_t m) {
    const auto prefix = attend(0, m);
    EXPECT_TRUE(same_rows(prefix[0], all[0]) && same_rows(prefix[1], all[1])) << m << " queries";
    if (m % 7 != 1) return;
    const auto last = attend(kMost - m, m);
    EXPECT_TRUE(same_rows(last[0], all[0], kMost - m) && same_rows(last[1], all[1], kMost - m)) << m << " last queries";
  });
}

}  // namespace
}  // namespace hadal
