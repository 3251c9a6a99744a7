// The factor of gradients that a device makes of their squares: to the bit what the host makes of the same sums, and no
// update where one is not finite.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "cuda_staged/device_rig.h"
#include "ops/step_control.h"

namespace hadal {
namespace {

class CudaAdamW : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!staged::device_is_there()) GTEST_SKIP() << "no device";
    rig = std::make_unique<staged::DeviceRig>(5);
  }
  Tensor floats(const std::vector<float>& values) const {
    return Tensor::from(rig->exec, values, {int64_t(values.size())});
  }

  struct Made {
    double factor = 0, skip = 0, factor_of_host = 0;
    bool finite = false, updated = false;
  };
  // Of several gradients; the update is of one weight, by the first of them.
  Made make(const std::vector<std::vector<float>>& gradients, double clip, double loss_scale) const {
    const Exec& exec = rig->exec;
    const Tensor sums = ops::exact_sums(exec, int64_t(gradients.size()));
    ExactSum total;
    for (size_t i = 0; i < gradients.size(); ++i)
      ops::add_squares(exec, floats(gradients[i]), sums.row_range(int64_t(i), 1));
    const Tensor on_host = host_copy(sums);
    for (size_t i = 0; i < gradients.size(); ++i) total.merge(ops::exact_sum(on_host, int64_t(i)));
    const double norm = std::sqrt(total.value()) / loss_scale;
    ops::AdamWArgs args{};
    args.w = floats({1}), args.grad = floats({gradients[0][0]}), args.m = floats({0}), args.v = floats({0});
    args.lr = 0.5, args.beta1 = 0.9, args.beta2 = 0.99, args.eps = 1e-8, args.step = 1, args.weight_decay = 0.1;
    const Tensor values = Tensor::empty(exec, DType::f64, {2});
    ops::adamw(exec, args, {values, sums, clip, loss_scale});
    const auto home = host_copies({values, args.w});
    return {element(home[0], 0), element(home[0], 1), (clip > 0 && norm > clip ? clip / norm : 1.0) / loss_scale,
            std::isfinite(norm), element(home[1], 0) != 1};
  }
  std::unique_ptr<staged::DeviceRig> rig;
};

TEST_F(CudaAdamW, MakesTheFactorOfTheHost) {
  uint64_t seed = 0;
  for (const float size : {0.0f, 1e-45f, 1e-30f, 1e-3f, 1.0f, 300.0f, 3e38f})
    for (const int64_t n : {1, 3, 200})
      for (const double clip : {0.0, 1.0, 1e-3})
        for (const double loss_scale : {1.0, 1024.0}) {
          std::vector<std::vector<float>> gradients(3);
          for (size_t g = 0; g < 3; ++g)
            for (int64_t i = 0; i < n; ++i)
              gradients[g].push_back(size * float(2 * random_uniform(++seed, g, uint64_t(i)) - 1));
          const Made made = make(gradients, clip, loss_scale);
          ASSERT_EQ(std::bit_cast<uint64_t>(made.factor), std::bit_cast<uint64_t>(made.factor_of_host))
              << size << " " << n << " clip " << clip << " scale " << loss_scale;
          ASSERT_EQ(made.skip, 0);
          ASSERT_TRUE(made.updated);
        }
}

TEST_F(CudaAdamW, UpdatesNothingWhereAGradientIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const Made made = make({{1, 2}, {3, bad}, {4}}, 1, 1);
    EXPECT_FALSE(made.finite);
    EXPECT_NE(made.skip, 0);
    EXPECT_FALSE(made.updated);
  }
}

TEST_F(CudaAdamW, RefusesAControlOfTheHost) {
  OwnedExec host(1, Isa::reference);
  EXPECT_THROW(ops::adamw(host.exec, {}, {Tensor::zeros(host.exec, DType::f64, {2}), Tensor(), 1, 1}), Error);
}

}  // namespace
}  // namespace hadal
