// AdamW over parameters: norms, clipping, exemptions, moving average, and what a NaN does.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "optim/optimizer.h"

namespace hadal {
namespace {

struct Fixture {
  OwnedExec owned{2};
  std::vector<std::unique_ptr<Parameter>> all;
  Parameters parameters;

  Parameter& add(const std::string& name, std::vector<float> weights, std::vector<float> gradient) {
    auto p = std::make_unique<Parameter>();
    p->spec.name = name;
    p->spec.shape = {int64_t(weights.size())};
    p->spec.layer = int64_t(all.size()) - 1;  // the first belongs to no layer
    p->master = p->value = Tensor::from<float>(owned.exec, weights, p->spec.shape);
    p->grad = Tensor::from<float>(owned.exec, gradient, p->spec.shape);
    all.push_back(std::move(p));
    parameters.push_back(all.back().get());
    return *all.back();
  }
};

TEST(Optimizer, TakesTheStepOfTheFormula) {
  Fixture f;
  auto& weight = f.add("w", {1.0f, -2.0f}, {0.5f, 0.25f});
  auto& norm = f.add("norm", {1.0f}, {0.5f});
  norm.spec.decayed = false;
  OptimConfig config;
  config.clip = 0;
  config.weight_decay = 0.1;
  Optimizer optimizer(f.parameters, config, f.owned.exec);
  optimizer.step(0.01, 123);
  // The first step of Adam moves by lr * sign(g) (up to eps), the decay by lr * decay * w.
  EXPECT_NEAR(element(weight.master, 0), 1.0 - 0.01 - 0.01 * 0.1 * 1.0, 1e-6);
  EXPECT_NEAR(element(weight.master, 1), -2.0 - 0.01 + 0.01 * 0.1 * 2.0, 1e-6);
  EXPECT_NEAR(element(norm.master, 0), 1.0 - 0.01, 1e-6);
}

TEST(Optimizer, ClipsByTheGlobalNorm) {
  Fixture f;
  f.add("a", {0, 0}, {3, 0});
  f.add("b", {0}, {4});
  OptimConfig config;
  config.clip = 1;
  Optimizer optimizer(f.parameters, config, f.owned.exec);
  const auto norms = optimizer.gradient_norms();
  EXPECT_DOUBLE_EQ(norms.global, 5);
  ASSERT_EQ(norms.per_layer.size(), 2u);
  EXPECT_DOUBLE_EQ(norms.per_layer[0], 4);
  EXPECT_DOUBLE_EQ(norms.per_layer[1], 3);  // the last entry: parameters of no layer
  optimizer.step(0.1, norms.global);
  // m = (1 - beta1) * g / 5
  EXPECT_NEAR(element(optimizer.state()[0].tensor, 0), 0.1 * 3.0 / 5.0, 1e-7);
}

TEST(Optimizer, NamesTheParameterWithNaN) {
  Fixture f;
  f.add("fine", {0}, {1});
  f.add("broken", {0, 0}, {1, std::numeric_limits<float>::quiet_NaN()});
  Optimizer optimizer(f.parameters, {}, f.owned.exec);
  EXPECT_EQ(optimizer.gradient_norms().not_finite, "broken");
  set_element(f.all[1]->grad, 1, std::numeric_limits<float>::infinity());
  EXPECT_EQ(optimizer.gradient_norms().not_finite, "broken");
}

TEST(Optimizer, KeepsAMovingAverageAndLeavesUntrainedParametersAlone) {
  Fixture f;
  f.add("w", {1}, {1});
  auto& bias = f.add("bias", {7}, {1});
  bias.spec.trained = false;
  OptimConfig config;
  config.ema_decay = 0.5;
  config.clip = 0;
  config.weight_decay = 0;
  Optimizer optimizer(f.parameters, config, f.owned.exec);
  optimizer.step(0.5, 1);
  EXPECT_EQ(element(bias.master, 0), 7);
  const auto state = optimizer.state();
  ASSERT_EQ(state.size(), 3u);
  EXPECT_EQ(state[2].name, "ema.w");
  EXPECT_NEAR(element(state[2].tensor, 0), 0.5 * 1.0 + 0.5 * element(f.all[0]->master, 0), 1e-6);
}

TEST(Optimizer, MomentsInBf16HalveTheirMemory) {
  Fixture f;
  f.add("w", {1, 2, 3}, {1, 1, 1});
  OptimConfig config;
  config.moments = "bf16";
  Optimizer optimizer(f.parameters, config, f.owned.exec);
  EXPECT_EQ(optimizer.state()[0].tensor.dtype(), DType::bf16);
  EXPECT_EQ(Optimizer::bytes_per_element(config, true), 4);
  EXPECT_EQ(Optimizer::bytes_per_element({}, false), 12);
}

}  // namespace
}  // namespace hadal
