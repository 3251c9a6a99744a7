// Products of groups whose sizes a device alone knows (kernels/gemm.h, GemmGroups): offsets lie in its memory, and
// every group has the bits of AVX2's product of its rows, whatever its neighbours and however many rows it has.
#include <gtest/gtest.h>

#include "cuda_staged/device_rig.h"
#include "ops/matmul.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {

using namespace rows_test;

constexpr int64_t kIn = 133, kOut = 70;  // more than a chunk of K, more than a tile of columns

const std::vector<std::vector<int32_t>>& divisions() {
  static const std::vector<std::vector<int32_t>> all = {{0, 0, 65, 65, 200, 200},
                                                        {0, 1, 2, 3, 4, 200},
                                                        {0, 200, 200, 200, 200, 200},
                                                        {0, 0, 0, 0, 0, 200},
                                                        {0, 64, 128, 192, 199, 200}};
  return all;
}

struct Results {
  Tensor y, dx, dw, added;
};

Results multiply(const Exec& exec, const std::vector<int32_t>& begins, DType dtype) {
  const int64_t rows = begins.back(), n = int64_t(begins.size()) - 1;
  Mat of_x = random_mat(rows, kIn, 1), of_dy = random_mat(rows, kOut, 2), of_w = random_mat(n * kOut, kIn, 3);
  const Tensor x = make(exec, dtype, of_x), dy = make(exec, dtype, of_dy),
               w = make(exec, dtype, of_w).view({n, kOut, kIn}), offsets = Tensor::from(exec, begins, {n + 1});
  Results r{Tensor::zeros(exec, dtype, {rows, kOut}), Tensor::zeros(exec, dtype, {rows, kIn}),
            Tensor::zeros(exec, DType::f32, {n, kOut, kIn}),
            Tensor::from(exec, std::vector<float>(size_t(n * kOut * kIn), 0.5f), {n, kOut, kIn})};
  ops::grouped_linear(exec, r.y, x, w, offsets);
  ops::grouped_linear_backward_input(exec, r.dx, dy, w, offsets);
  ops::grouped_linear_backward_weight(exec, r.dw, dy, x, offsets, ops::Write::overwrite);
  ops::grouped_linear_backward_weight(exec, r.added, dy, x, offsets, ops::Write::add);
  for (Tensor* t : {&r.y, &r.dx, &r.dw, &r.added}) *t = host_copy(*t);
  return r;
}

TEST(CudaGroups, HaveTheBitsOfAvx2HoweverRowsAreDivided) {
  if (!staged::device_is_there()) GTEST_SKIP() << "no device";
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "no AVX2";
  uint64_t schedule = 0;
  for (const std::vector<int32_t>& begins : divisions()) {
    const staged::DeviceRig device(++schedule);
    OwnedExec host(1, Isa::avx2);
    const Results here = multiply(host.exec, begins, DType::f32), there = multiply(device.exec, begins, DType::f32);
    const auto same = [&](const Tensor& a, const Tensor& b) {
      return std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
    };
    EXPECT_TRUE(same(there.y, here.y)) << "division " << schedule;
    EXPECT_TRUE(same(there.dx, here.dx)) << "division " << schedule;
    EXPECT_TRUE(same(there.dw, here.dw)) << "division " << schedule;
    EXPECT_TRUE(same(there.added, here.added)) << "division " << schedule;
  }
}

}  // namespace
}  // namespace hadal
