// The shadow check: errors that theory expects, every product of a layer in every setting of recomputation, and no bit
// of what it looks at changed.
#include "proof/shadow_check.h"

#include <set>

#include "model/small_model.h"
#include "nn/linear.h"
#include "nn/numeric.h"
#include "nn/rounded.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

using namespace hadal::testing;

struct LayerOfOne {  // a weight, and a watch that sees its products
  OwnedExec owned{2};
  ShadowCheck check{0};
  std::unique_ptr<Parameter> weight;
  LayerOfOne(const GemmRecipe& recipe, Shape shape) {
    ParameterSpec spec;
    spec.name = "layers.0.test", spec.shape = shape, spec.layer = 0;
    weight = bare_parameter(spec);
    reads(recipe, *weight);
    give_memory(owned.exec, *weight, DType::f32, true);
    weight->master.copy_from(random_tensor(owned.exec, shape, 1, 0.1, DType::f32));
    refresh_value(owned.exec, *weight);
    weight->expect(-1);
    owned.exec.watch = &check;
    check.enter(0, 0, true);
  }
  Tensor random(Shape shape, uint64_t stream, DType dtype = DType::f32) {
    return random_tensor(owned.exec, std::move(shape), stream, 1.0, dtype);
  }
};

TEST(ShadowCheck, GaussianOperandsHaveTheExpectedError) {
  for (const bool powers : {false, true}) {
    GemmRecipe recipe = Recipe::fp8().q_b;
    if (powers) recipe.x_scale = recipe.dy_scale = recipe.weight_scale = ScaleRule::power_of_two;
    LayerOfOne one(recipe, {160, 384});
    const Linear linear{one.weight.get(), recipe};
    const Exec& exec = one.owned.exec;
    const Tensor x = one.random({300, 384}, 2), dy = one.random({300, 160}, 3);
    const Tensor y = Tensor::empty(exec, DType::f32, {300, 160}), dx = Tensor::empty(exec, DType::f32, {300, 384});
    const Activation codes = recipe.fprop_operand(exec, x);  // made before: their values are known, also in parts
    linear.forward(exec, y.row_range(0, 130), codes.row_range(0, 130));
    linear.forward(exec, y.row_range(130, 170), codes.row_range(130, 170));
    linear.backward_input(exec, dx, dy);
    linear.backward_weight(exec, dy, x);
    ASSERT_EQ(one.check.findings().size(), 3u);
    for (const ProductFinding& f : one.check.findings()) {
      EXPECT_NEAR(f.error(), powers ? 0.0376 : 0.0369, 0.0008) << result_name(f.product);
      EXPECT_FALSE(f.as_received);
    }
    const ProductFinding &of_y = one.check.findings()[0], &of_dx = one.check.findings()[1];
    EXPECT_NEAR(of_y.x.error(), powers ? 0.0266 : 0.0257, 0.0005);
    EXPECT_EQ(of_y.x.count, 300 * 384);
    EXPECT_EQ(of_y.weight.count, 2 * 160 * 384);  // of each part
    EXPECT_EQ(of_dx.dy.count, 300 * 160);
    EXPECT_EQ(of_dx.x.count, 0);
  }
}

// The error is that of the product itself: dx of what y says, by loops over FP64.
TEST(ShadowCheck, ErrorIsThatOfTheProduct) {
  const GemmRecipe recipe = Recipe::fp8().q_b;
  LayerOfOne one(recipe, {20, 140});
  const Exec& exec = one.owned.exec;
  const Tensor x = one.random({9, 140}, 2), y = Tensor::empty(exec, DType::f32, {9, 20});
  Linear{one.weight.get(), recipe}.forward(exec, y, x);
  double off = 0, size = 0;
  for (int64_t r = 0; r < 9; ++r) {
    for (int64_t o = 0; o < 20; ++o) {
      double exact = 0;
      for (int64_t i = 0; i < 140; ++i) exact += element(x, r * 140 + i) * element(one.weight->master, o * 140 + i);
      off += std::pow(element(y, r * 20 + o) - exact, 2), size += exact * exact;
    }
  }
  EXPECT_NEAR(one.check.findings().at(0).error(), std::sqrt(off / size), 1e-4 * std::sqrt(off / size));
}

// Codes that nobody saw being made stand for themselves; rows that were gathered are known by what they were.
TEST(ShadowCheck, CodesThatTravelledStandForThemselves) {
  const GemmRecipe recipe = Recipe::fp8().experts_gate_up;
  const Tensor offsets = Tensor::from(OwnedExec(1).exec, std::vector<int32_t>{0, 130, 130, 200}, {4});
  for (const bool seen : {false, true}) {
    LayerOfOne one(recipe, {3, 60, 140});
    const Exec& exec = one.owned.exec;
    const Tensor x = one.random({150, 140}, 2, DType::bf16), dy = one.random({200, 60}, 3, DType::bf16);
    std::vector<int32_t> index(200);
    for (size_t i = 0; i < index.size(); ++i) index[i] = int32_t(i * 7 % 150);
    const Tensor token = i32(exec, index);
    if (!seen) one.check.leave();
    const Activation codes = recipe.fprop_operand(exec, x), rows = ops::gather_rows(exec, codes, token);
    one.check.gathered(exec, codes, rows, token);
    one.check.enter(0, 0, true);
    const GroupedLinear linear{one.weight.get(), recipe};
    linear.forward(exec, Tensor::empty(exec, DType::f32, {200, 60}), rows, offsets);
    linear.backward_weight(exec, dy, rows, offsets);
    for (const ProductFinding& f : one.check.findings()) {
      EXPECT_EQ(f.as_received, !seen);
      EXPECT_NEAR(f.error(), seen ? 0.0375 : 0.0263, 0.0015) << result_name(f.product);
      EXPECT_EQ(f.x.count, 200 * 140);
      EXPECT_NEAR(f.x.error(), seen ? 0.0266 : 0.0, 0.001);
    }
    EXPECT_EQ(one.check.findings().size(), 2u);
  }
}

std::vector<ProductFinding> findings_of(Recompute recompute, int64_t layer, uint64_t& hash, bool watched = true) {
  ModelOptions options = training_options(Precision::fp8);
  options.recipe = Recipe::fp8();
  options.recompute = recompute;
  SmallModel small(small_config(), options);
  ShadowCheck check(layer);
  Exec exec = small.owned.exec;
  if (watched) exec.watch = &check;
  const std::vector<MicroBatch> batches = {make_batch({{70, 9}, {1, 80}}, true), make_batch({{50}}, true, 37, 2)};
  small.model.begin_step(2);
  small.model.forward_backward(exec, batches, loss_weights(small_config()), {});
  hash = gradient_hash(small.model);
  return check.findings();
}

TEST(ShadowCheck, SeesEveryProductOfALayerAndChangesNoBit) {
  if (kOnDevice) GTEST_SKIP() << "FP8 runs on the CPU";
  uint64_t untouched = 0;
  findings_of(Recompute::norms, 0, untouched, false);
  const std::set<std::string> attention = {"attention.q_a", "attention.q_b", "attention.kv_a", "attention.kv_b",
                                           "attention.o"};
  const std::set<std::string> dense = {"ffn.gate", "ffn.up", "ffn.down"},
                              moe = {"moe.experts.gate", "moe.experts.up", "moe.experts.down",
                                     "moe.shared.gate",  "moe.shared.up",  "moe.shared.down"};
  for (const int64_t layer : {0, 2, 3}) {  // dense, MoE, of an MTP module
    std::vector<double> errors;
    int64_t values_once = 0;
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      uint64_t hash = 0;
      const auto findings = findings_of(recompute, layer, hash);
      EXPECT_EQ(hash, untouched);
      std::set<std::pair<std::string, Product>> seen, expected;
      for (const auto* part : {&attention, layer == 0 ? &dense : &moe})
        for (const std::string& name : *part)
          for (const Product product : {Product::fprop, Product::dgrad, Product::wgrad})
            expected.emplace(fmt::format("layers.{}.{}", layer, name), product);
      std::vector<double> now;
      int64_t values = 0;
      for (const ProductFinding& f : findings) {
        EXPECT_TRUE(seen.emplace(f.linear, f.product).second);
        EXPECT_EQ(f.layer, layer);
        EXPECT_GT(f.error(), 0.01) << f.linear;
        EXPECT_LT(f.error(), 0.06) << f.linear;
        EXPECT_FALSE(f.as_received) << f.linear;
        now.push_back(f.error());
        values += f.x.count + f.dy.count;
      }
      EXPECT_EQ(seen, expected);
      if (recompute == Recompute::none) values_once = values;
      EXPECT_EQ(values, values_once) << "a forward that is made again is looked at again";
      // Backward reads what is kept, however it was made: the same operands, so the same findings.
      if (errors.empty()) errors = now;
      std::sort(now.begin(), now.end()), std::sort(errors.begin(), errors.end());
      ASSERT_EQ(now.size(), errors.size());
      for (size_t i = 0; i < now.size(); ++i) EXPECT_NEAR(now[i], errors[i], 1e-3 * errors[i]);
    }
  }
}

// Rounded products are those of codes, but for the rounding of sums.
TEST(RoundedProducts, AreThoseOfCodes) {
  GemmRecipe fp8 = Recipe::fp8().q_b, rounded = fp8;
  rounded.fprop = rounded.dgrad = rounded.wgrad = Format::rounded;
  LayerOfOne one(fp8, {3, 60, 140});
  one.owned.exec.watch = nullptr;
  const Exec& exec = one.owned.exec;
  const Tensor offsets = i32(exec, {0, 130, 130, 200});
  const Tensor x = one.random({200, 140}, 2, DType::bf16), dy = one.random({200, 60}, 3, DType::bf16);
  const auto passes = [&](const GemmRecipe& recipe) {
    const GroupedLinear linear{one.weight.get(), recipe};
    const Tensor y = Tensor::empty(exec, DType::f32, {200, 60}), dx = Tensor::empty(exec, DType::f32, {200, 140});
    const Tensor dw = Tensor::empty(exec, DType::f32, {3, 60, 140});
    linear.forward(exec, y, x, offsets);
    linear.backward_input(exec, dx, dy, offsets);
    linear.weight_product(exec, dw, dy, x, offsets, ops::Write::overwrite);
    std::vector<double> all = values_of(y);
    for (const Tensor* t : {&dx, &dw}) {
      const std::vector<double> more = values_of(*t);
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  };
  const auto distance = [](const std::vector<double>& a, const std::vector<double>& b) {
    double off = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) off += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
    return std::sqrt(off / size);
  };
  const std::vector<double> of_codes = passes(fp8);
  EXPECT_LT(distance(passes(rounded), of_codes), 1e-6);
  for (const auto& change : std::initializer_list<std::function<void(GemmRecipe&)>>{
           [](GemmRecipe& r) { r.study.gradient = kSquareTile; }, [](GemmRecipe& r) { r.study.retiled = true; },
           [](GemmRecipe& r) { r.activation = r.token = r.study.gradient = kWholeTile; },
           [](GemmRecipe& r) { r.x_scale = ScaleRule::power_of_two; }}) {
    GemmRecipe other = rounded;
    change(other);
    EXPECT_GT(distance(passes(other), of_codes), 1e-3);
  }
  GemmRecipe floored = rounded;
  floored.study.floor = AmaxFloor::released;
  EXPECT_LT(distance(passes(floored), of_codes), 1e-6);  // of large values it changes nothing
}

}  // namespace
}  // namespace hadal
