// AdamW over parameters: norms, clipping, exemptions, moving average, and what a NaN does.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "nn/init.h"
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
    p->box = Box::whole(p->spec.shape);
    p->master = Tensor::from<float>(owned.exec, weights, p->spec.shape);
    p->value = Weight(p->master);
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
  optimizer.step(f.owned.exec, 0.01, 123);
  // The first step of Adam moves by lr * sign(g) (up to eps), the decay by lr * decay * w.
  EXPECT_NEAR(element(weight.master, 0), 1.0 - 0.01 - 0.01 * 0.1 * 1.0, 1e-6);
  EXPECT_NEAR(element(weight.master, 1), -2.0 - 0.01 + 0.01 * 0.1 * 2.0, 1e-6);
  EXPECT_NEAR(element(norm.master, 0), 1.0 - 0.01, 1e-6);
}

TEST(Optimizer, RenewsTheCodesOfAWeightOncePerStep) {
  OwnedExec owned(2);
  ParameterSpec spec;
  spec.name = "w", spec.shape = {60, 200}, spec.init_std = 0.1;
  for (const DType compute : {DType::f32, DType::bf16}) {
    const auto p = make_parameter(owned.exec, spec, compute, true);
    p->codes = CodeForm{kSquareTile, kSquareTile, ScaleRule::exact, compute};
    initialize_parameter(owned.exec, *p, 3);
    for (int64_t i = 0; i < p->grad.count(); ++i) set_element(p->grad, i, random_normal(5, 0, uint64_t(i)));
    const int64_t version = p->value.version;
    const std::vector<OwnedRange> halves = {{p.get(), 0, 5000}, {p.get(), 5000, 12000}};
    Optimizer(halves, OptimConfig(), owned.exec).step(owned.exec, 0.05, 1.0);
    EXPECT_EQ(p->value.version, version + 1);
    const Quantised expected = Quantised::empty(owned.exec, spec.shape, kSquareTile, compute);
    quantise(owned.exec, expected, p->master, AmaxFloor::released);
    for (int64_t i = 0; i < 12000; ++i)
      ASSERT_EQ(element(p->value.codes.codes, i), element(expected.codes, i)) << dtype_name(compute) << " " << i;
  }
}

TEST(Optimizer, ClipsByTheGlobalNorm) {
  Fixture f;
  f.add("a", {0, 0}, {3, 0});
  f.add("b", {0}, {4});
  OptimConfig config;
  config.clip = 1;
  Optimizer optimizer(f.parameters, config, f.owned.exec);
  const auto norms = optimizer.gradient_norms(f.owned.exec);
  EXPECT_DOUBLE_EQ(norms.global, 5);
  ASSERT_EQ(norms.per_layer.size(), 2u);
  EXPECT_DOUBLE_EQ(norms.per_layer[0], 4);
  EXPECT_DOUBLE_EQ(norms.per_layer[1], 3);  // the last entry: parameters of no layer
  optimizer.step(f.owned.exec, 0.1, norms.global);
  // m = (1 - beta1) * g / 5
  EXPECT_NEAR(element(optimizer.state()[0].tensor, 0), 0.1 * 3.0 / 5.0, 1e-7);
}

using OwnParameters = std::vector<std::unique_ptr<Parameter>>;

OwnParameters some_parameters(const Exec& exec) {
  const std::vector<Shape> shapes = {{50, 300}, {7}, {4, 9, 200}, {33, 20}, {1000}};
  OwnParameters all;
  for (size_t i = 0; i < shapes.size(); ++i) {
    ParameterSpec spec;
    spec.name = fmt::format("w{}", i), spec.shape = shapes[i], spec.layer = int64_t(i) - 1, spec.init_std = 1;
    all.push_back(make_parameter(exec, spec, DType::bf16, true));
    initialize_parameter(exec, *all.back(), 3);
    for (int64_t k = 0; k < all.back()->grad.count(); ++k)
      set_element(all.back()->grad, k, std::exp(3 * random_normal(8, i, uint64_t(k))));
  }
  return all;
}

// Three owners; every parameter is cut at two places at which a line begins.
std::vector<std::vector<OwnedRange>> cut_among_three(const OwnParameters& parts, uint64_t draw) {
  std::vector<std::vector<OwnedRange>> owners(3);
  for (size_t i = 0; i < parts.size(); ++i) {
    Parameter* p = parts[i].get();
    const int64_t cols = p->grad.cols(), count = p->grad.count();
    const auto border = [&](uint64_t k) {
      const int64_t at = int64_t(random_below(draw, 10 * i + k, 1, uint64_t(count + 1)));
      return at / cols * cols + at % cols / 128 * 128;
    };
    const auto [a, b] = std::minmax({border(1), border(2)});
    const int64_t ends[] = {0, a, b, count};
    for (size_t o = 0; o < 3; ++o)
      if (ends[o] < ends[o + 1]) owners[(o + i) % 3].push_back({p, ends[o], ends[o + 1]});
  }
  return owners;
}

// Element by element, rounded at every step: what a norm would be without exact sums.
double plain_squares(const std::vector<OwnedRange>& owner) {
  double sum = 0;
  for (const OwnedRange& range : owner)
    for (int64_t k = range.begin; k < range.end; ++k)
      sum += element(range.parameter->grad, k) * element(range.parameter->grad, k);
  return sum;
}

// Owners of other parts of the parameters, cut at lines, find the same norm and make the same step, to the bit.
TEST(Optimizer, TheNormAndTheStepAreTheSameForAnyCutOfTheParameters) {
  OwnedExec owned(2);
  const OwnParameters whole = some_parameters(owned.exec);
  Parameters pointers;
  for (const auto& p : whole) pointers.push_back(p.get());
  OptimConfig config;
  config.ema_decay = 0.9;
  Optimizer one(pointers, config, owned.exec);
  const GradientNorms expected = one.gradient_norms(owned.exec);
  one.step(owned.exec, 0.01, expected.global);
  std::set<double> naive_sums;
  for (uint64_t draw = 0; draw < 12; ++draw) {
    const OwnParameters parts = some_parameters(owned.exec);
    GradientSquares squares;
    double naive = 0;
    std::vector<Optimizer> optimizers;
    for (const auto& owner : cut_among_three(parts, draw)) {
      naive += plain_squares(owner);
      optimizers.emplace_back(owner, config, owned.exec);
      squares.merge(optimizers.back().gradient_squares(owned.exec));
    }
    naive_sums.insert(naive);
    const GradientNorms norms = norms_of(squares);
    EXPECT_EQ(norms.global, expected.global);
    EXPECT_EQ(norms.per_layer, expected.per_layer);
    for (Optimizer& optimizer : optimizers) optimizer.step(owned.exec, 0.01, norms.global);
    for (size_t i = 0; i < parts.size(); ++i)
      for (int64_t k = 0; k < parts[i]->master.count(); ++k) {
        ASSERT_EQ(element(parts[i]->master, k), element(whole[i]->master, k));
        ASSERT_EQ(element(parts[i]->value.plain, k), element(whole[i]->value.plain, k));
      }
  }
  EXPECT_GT(naive_sums.size(), 1u) << "the control: sums rounded as they are added differ with the cut";
}

TEST(Optimizer, NamesTheParameterWithNaN) {
  Fixture f;
  f.add("fine", {0}, {1});
  f.add("broken", {0, 0}, {1, std::numeric_limits<float>::quiet_NaN()});
  Optimizer optimizer(f.parameters, {}, f.owned.exec);
  EXPECT_EQ(optimizer.gradient_norms(f.owned.exec).not_finite.parameter, "broken");
  set_element(f.all[1]->grad, 1, std::numeric_limits<float>::infinity());
  EXPECT_EQ(optimizer.gradient_norms(f.owned.exec).not_finite.parameter, "broken");
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
  optimizer.step(f.owned.exec, 0.5, 1);
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
  config.moments = MomentFormat::bf16;
  Optimizer optimizer(f.parameters, config, f.owned.exec);
  EXPECT_EQ(optimizer.state()[0].tensor.dtype(), DType::bf16);
  EXPECT_EQ(Optimizer::bytes_per_element(config, true), 4);
  EXPECT_EQ(Optimizer::bytes_per_element({}, false), 12);
}

TEST(Optimizer, MomentsInBf16BesideWeightsInF64AreRefused) {
  Fixture f;
  f.add("w", {1}, {1});
  f.all[0]->master = Tensor::zeros(f.owned.exec, DType::f64, {1});
  f.all[0]->value = Weight(f.all[0]->master);
  OptimConfig config;
  config.moments = MomentFormat::bf16;
  try {
    Optimizer(f.parameters, config, f.owned.exec);
    FAIL() << "what was asked is not what is made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    EXPECT_NE(std::string(error.what()).find("optim.moments"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hadal
