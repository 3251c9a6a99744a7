// Layers under a recipe: FP8 products of a Linear, of experts and of an Mlp against the same layers in FP32, and codes
// that are made once and serve every product that reads them.
#include "nn/recipe.h"

#include "base/expect_error.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/numeric.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

using namespace hadal::testing;

class RecipeTest : public ::testing::Test {
 protected:
  std::unique_ptr<Parameter> weight(Shape shape, uint64_t stream, double size = 0.5) {
    ParameterSpec spec;
    spec.name = "test";
    spec.shape = shape;
    auto parameter = make_parameter(exec, spec, DType::f32, true);
    parameter->master.copy_from(random(std::move(shape), stream, size));
    return parameter;
  }
  Tensor random(Shape shape, uint64_t stream, double size = 1.0) {
    return random_tensor(exec, std::move(shape), stream, size, DType::f32);
  }
  Tensor empty(Shape shape) { return Tensor::empty(exec, DType::f32, std::move(shape)); }
  // The parameter as linears of this recipe find it.
  Parameter* read(const std::unique_ptr<Parameter>& parameter, const GemmRecipe& recipe) {
    reads(recipe, *parameter);
    refresh_value(exec, *parameter);
    return parameter.get();
  }
  OwnedExec owned{2};
  const Exec& exec = owned.exec;
};

// ||a - b|| / ||b||
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double off = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) off += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(off / size);
}

// Random products of E4M3 codes are off by a few percent: near, and visibly not FP32.
void expect_fp8_of(const std::vector<double>& fp8, const std::vector<double>& high, const char* what) {
  ASSERT_EQ(fp8.size(), high.size());
  EXPECT_LT(distance(fp8, high), 0.08) << what;
  EXPECT_GT(distance(fp8, high), 0.005) << what;
}

GemmRecipe only(Format GemmRecipe::*pass) {
  GemmRecipe recipe;
  recipe.*pass = Format::fp8;
  return recipe;
}

struct Passes {
  std::vector<double> y, dx, dw;
};

TEST_F(RecipeTest, EachPassOfALinearFollowsItsOwnFormat) {
  const auto w = weight({140, 300}, 1);
  const Tensor x = random({150, 300}, 2), dy = random({150, 140}, 3);
  auto passes = [&](const GemmRecipe& recipe) {
    const Linear linear{read(w, recipe), recipe};
    const Tensor y = empty({150, 140}), dx = empty({150, 300});
    w->grad.zero(), w->expect(-1);
    linear.forward(exec, y, x);
    linear.backward_input(exec, dx, dy);
    linear.backward_weight(exec, dy, x);
    return Passes{values_of(y), values_of(dx), values_of(w->grad)};
  };
  const Passes high = passes(GemmRecipe()), all = passes(Recipe::fp8().q_b);
  expect_fp8_of(all.y, high.y, "y");
  expect_fp8_of(all.dx, high.dx, "dx");
  expect_fp8_of(all.dw, high.dw, "dw");
  const Passes f = passes(only(&GemmRecipe::fprop)), d = passes(only(&GemmRecipe::dgrad)),
               g = passes(only(&GemmRecipe::wgrad));
  EXPECT_TRUE(f.y == all.y && f.dx == high.dx && f.dw == high.dw);
  EXPECT_TRUE(d.y == high.y && d.dx == all.dx && d.dw == high.dw);
  EXPECT_TRUE(g.y == high.y && g.dx == high.dx && g.dw == all.dw);
}

TEST_F(RecipeTest, CodesOfAWeightAreMadeWhenItsValuesChangeAndAtNoProduct) {
  const auto w = weight({140, 300}, 1);
  const GemmRecipe fp8 = Recipe::fp8().q_b;
  const Tensor x = random({5, 300}, 2), y = empty({5, 140});
  const auto forward = [&](const Linear& linear) {
    linear.forward(exec, y, x);
    return values_of(y);
  };
  EXPECT_ERROR(forward({w.get(), fp8}), ErrorKind::internal, "test is multiplied in FP8 and keeps no codes");
  const Linear linear{read(w, fp8), fp8};
  const std::vector<double> before = forward(linear);
  const int64_t version = w->value.version;
  w->master.copy_from(random({140, 300}, 7, 0.5));
  EXPECT_EQ(forward(linear), before);  // the codes of before: nothing was made anew
  EXPECT_EQ(w->value.version, version);
  refresh_value(exec, *w);
  EXPECT_EQ(w->value.version, version + 1);
  const auto fresh = weight({140, 300}, 7);
  EXPECT_EQ(forward(linear), forward({read(fresh, fp8), fp8}));
  EXPECT_NE(forward(linear), before);
}

TEST_F(RecipeTest, FinerTilesAndPowerOfTwoScalesAreOneFieldOfTheRecipe) {
  const auto w = weight({64, 256}, 1);
  const Tensor x = random({40, 256}, 2), y = empty({40, 64});
  auto forward = [&](const GemmRecipe& recipe) {
    Linear{read(w, recipe), recipe}.forward(exec, y, x);
    return values_of(y);
  };
  const std::vector<double> high = forward({}), coarse = forward(Recipe::fp8().q_b);
  GemmRecipe fine = Recipe::fp8().q_b, powers = Recipe::fp8().q_b;
  fine.activation = {1, 32}, fine.weight = {32, 32};
  powers.scale_rule = ScaleRule::power_of_two;
  for (const GemmRecipe& recipe : {fine, powers}) {
    const std::vector<double> other = forward(recipe);
    expect_fp8_of(other, high, "y");
    EXPECT_NE(other, coarse);
  }
}

TEST_F(RecipeTest, CodesOfANormServeGateAndUpAndTheirWeightGradients) {
  const auto gate = weight({96, 256}, 1), up = weight({96, 256}, 2), down = weight({256, 96}, 3),
             scale = weight({256}, 4, 0.3);
  const Tensor h = random({140, 256}, 5), dy = random({140, 256}, 6);
  const GemmRecipe fp8 = Recipe::fp8().ffn_gate_up, high;
  struct Result {
    std::vector<double> y, dx, gate, up, down;
  };
  auto run = [&](const GemmRecipe& recipe, bool codes_from_norm) {
    const Mlp mlp{{read(gate, recipe), recipe}, {read(up, recipe), recipe}, {read(down, recipe), recipe}};
    const Norm norm{scale.get(), 1e-6};
    Norm::Saved normed;
    const Activation x = norm.forward(exec, h, normed, codes_from_norm ? recipe : high);
    EXPECT_EQ(x.is_quantised(), codes_from_norm);
    Mlp::Saved saved;
    const Tensor y = empty({140, 256}), dx = empty({140, 256});
    for (Parameter* p : {gate.get(), up.get(), down.get()}) p->grad.zero(), p->expect(-1);
    mlp.forward(exec, y, x, ops::Write::overwrite, saved);
    mlp.backward_input(exec, dx, dy, ops::Write::overwrite, saved);
    mlp.backward_weight(exec, x, saved);
    return Result{values_of(y), values_of(dx), values_of(gate->grad), values_of(up->grad), values_of(down->grad)};
  };
  const Result coded = run(fp8, true), plain = run(fp8, false), exact = run(high, false);
  EXPECT_TRUE(coded.y == plain.y && coded.dx == plain.dx && coded.down == plain.down);  // the same codes either way
  expect_fp8_of(coded.gate, plain.gate, "gate from codes made again in tiles of tokens");
  expect_fp8_of(coded.y, exact.y, "y");
  expect_fp8_of(coded.dx, exact.dx, "dx");
  expect_fp8_of(coded.gate, exact.gate, "gate");
  expect_fp8_of(coded.up, exact.up, "up");
  expect_fp8_of(coded.down, exact.down, "down");
}

TEST_F(RecipeTest, CodesInTheTilesOfAPassAreTakenAsTheyAre) {
  const Tensor x = random({10, 256}, 1);
  const GemmRecipe fp8 = Recipe::fp8().q_a, high;
  const Activation codes = fp8.fprop_operand(exec, x);
  EXPECT_EQ(fp8.fprop_operand(exec, codes).quantised().codes.raw(), codes.quantised().codes.raw());
  EXPECT_EQ(fp8.dgrad_operand(exec, codes).quantised().codes.raw(), codes.quantised().codes.raw());
  EXPECT_EQ(fp8.wgrad_operand(exec, codes).quantised().tile, kColumnTile);
  EXPECT_EQ(high.fprop_operand(exec, x).tensor().raw(), x.raw());
  EXPECT_EQ(high.wgrad_operand(exec, x).tensor().raw(), x.raw());
  EXPECT_FALSE(high.wgrad_operand(exec, codes).is_quantised());
}

TEST_F(RecipeTest, ExpertsMultiplyCodesInEveryPass) {
  const Tensor offsets = Tensor::from(exec, std::vector<int32_t>{0, 130, 130, 200}, {4});
  const auto w = weight({3, 60, 140}, 1);
  const Tensor x = random({200, 140}, 2), dy = random({200, 60}, 3);
  auto passes = [&](const GemmRecipe& recipe) {
    const GroupedLinear linear{read(w, recipe), recipe};
    const Tensor y = empty({200, 60}), dx = empty({200, 140});
    w->grad.zero(), w->expect(-1);
    linear.forward(exec, y, x, offsets);
    linear.backward_input(exec, dx, dy, offsets);
    linear.backward_weight(exec, dy, x, offsets);
    return Passes{values_of(y), values_of(dx), values_of(w->grad)};
  };
  const Passes high = passes(GemmRecipe()), fp8 = passes(Recipe::fp8().experts_gate_up);
  expect_fp8_of(fp8.y, high.y, "y");
  expect_fp8_of(fp8.dx, high.dx, "dx");
  expect_fp8_of(fp8.dw, high.dw, "dw");
}

}  // namespace
}  // namespace hadal
