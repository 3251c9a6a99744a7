// Layers under a recipe: FP8 products of a Linear, of experts and of an Mlp against the same layers in FP32, and codes
// that are made once and serve every product that reads them.
#include "nn/recipe.h"

#include "base/expect_error.h"
#include "nn/init.h"
#include "nn/mlp.h"
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
void expect_fp8_of(const std::vector<double>& fp8, const std::vector<double>& high, const char* what,
                   double most = 0.08) {
  ASSERT_EQ(fp8.size(), high.size());
  EXPECT_LT(distance(fp8, high), most) << what;
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
  powers.x_scale = powers.weight_scale = ScaleRule::power_of_two;
  for (const GemmRecipe& recipe : {fine, powers}) {
    const std::vector<double> other = forward(recipe);
    expect_fp8_of(other, high, "y");
    EXPECT_NE(other, coarse);
  }
}

// Every product of a linear, alone or of experts, is summed as its recipe says.
TEST_F(RecipeTest, SumsAsHopperDoesInEveryPass) {
  const auto w = weight({70, 300}, 1), experts = weight({2, 70, 300}, 4);
  const Tensor x = random({300, 300}, 2), dy = random({300, 70}, 3);
  const Tensor offsets = Tensor::from(exec, std::vector<int32_t>{0, 20, 300}, {3});
  const auto passes = [&](ops::Accumulation accumulation, bool grouped) {
    GemmRecipe recipe = Recipe::fp8().q_b;
    recipe.accumulation = accumulation;
    const Tensor y = empty({300, 70}), dx = empty({300, 300});
    Parameter* parameter = read(grouped ? experts : w, recipe);
    parameter->grad.zero(), parameter->expect(-1);
    if (grouped) {
      const GroupedLinear linear{parameter, recipe};
      linear.forward(exec, y, x, offsets);
      linear.backward_input(exec, dx, dy, offsets);
      linear.backward_weight(exec, dy, x, offsets);
    } else {
      const Linear linear{parameter, recipe};
      linear.forward(exec, y, x);
      linear.backward_input(exec, dx, dy);
      linear.backward_weight(exec, dy, x);
    }
    return Passes{values_of(y), values_of(dx), values_of(parameter->grad)};
  };
  using ops::Accumulation;
  for (const bool grouped : {false, true}) {
    const Passes exact = passes(Accumulation::fp32, grouped), promoted = passes(Accumulation::hopper, grouped),
                 never = passes(Accumulation::hopper_unpromoted, grouped);
    const auto expect_near = [&](std::vector<double> Passes::*of, bool chunks) {  // dx sums 70, the others 300
      EXPECT_LT(distance(promoted.*of, exact.*of), 5e-4);
      EXPECT_GT(distance(promoted.*of, exact.*of), 2e-5);
      EXPECT_EQ(distance(never.*of, exact.*of) > 1.2 * distance(promoted.*of, exact.*of), chunks);
    };
    expect_near(&Passes::y, true), expect_near(&Passes::dx, false), expect_near(&Passes::dw, true);
  }
}

TEST_F(RecipeTest, AnMlpTakesValuesOfANormAndCodesThatWereDispatched) {
  const auto gate = weight({96, 256}, 1), up = weight({96, 256}, 2), down = weight({256, 96}, 3);
  const Tensor x = random({140, 256}, 5), dy = random({140, 256}, 6);
  struct Result {
    std::vector<double> y, dx, gate, up, down;
  };
  auto run = [&](const GemmRecipe& of_input, const GemmRecipe& of_output, const Activation& input) {
    const Mlp mlp{{read(gate, of_input), of_input}, {read(up, of_input), of_input}, {read(down, of_output), of_output}};
    Mlp::Saved saved;
    const Tensor y = empty({140, 256}), dx = empty({140, 256});
    for (Parameter* p : {gate.get(), up.get(), down.get()}) p->grad.zero(), p->expect(-1);
    mlp.forward(exec, y, input, ops::Write::overwrite, saved);
    mlp.backward_input(exec, dx, dy, ops::Write::overwrite, saved);
    mlp.backward_weight(exec, input, saved);
    return Result{values_of(y), values_of(dx), values_of(gate->grad), values_of(up->grad), values_of(down->grad)};
  };
  const Recipe fp8 = Recipe::fp8();
  const Result exact = run({}, {}, x);
  const Result of_norm = run(fp8.ffn_gate_up, fp8.ffn_down, x);
  const Result dispatched = run(fp8.experts_gate_up, fp8.experts_down, fp8.experts_gate_up.fprop_operand(exec, x));
  for (const Result& result : {of_norm, dispatched}) {
    expect_fp8_of(result.y, exact.y, "y");
    expect_fp8_of(result.dx, exact.dx, "dx");
    expect_fp8_of(result.gate, exact.gate, "gate", 0.12);  // four products, one after another
    expect_fp8_of(result.up, exact.up, "up", 0.12);
    expect_fp8_of(result.down, exact.down, "down");
  }
  // Codes with exact scales have no second tiling.
  const Activation codes = fp8.ffn_gate_up.fprop_operand(exec, x);
  EXPECT_ERROR(run(fp8.ffn_gate_up, fp8.ffn_down, codes), ErrorKind::internal, "their scales are not powers of two");
}

// Each operand by its own rule: powers of two where codes travel or are kept, FP32 elsewhere.
// Blocks of MX run along the summed dimension of each product, so a weight has codes for y and others for dx; a model
// that only runs forward keeps the first alone.
TEST_F(RecipeTest, MxHasTwoSetsOfCodesOfAWeight) {
  for (const ScaleRule rule : {ScaleRule::power_of_two, ScaleRule::ocp}) {
    const GemmRecipe mx = Recipe::mxfp8(rule).q_b;
    const auto w = weight({140, 300}, 1);
    const Tensor x = random({150, 300}, 2), dy = random({150, 140}, 3), y = empty({150, 140}), dx = empty({150, 300});
    const Linear linear{read(w, mx), mx}, high{read(w, {}), {}};
    const auto expect_codes = [&](const Quantised& codes, Tile tile) {
      const Quantised expected = ops::quantise(exec, w->master, tile, rule, AmaxFloor::released);
      EXPECT_EQ(codes.tile, tile);
      EXPECT_EQ(values_of(codes.codes), values_of(expected.codes));
      EXPECT_EQ(values_of(codes.scales), values_of(expected.scales));
    };
    expect_codes(w->value.codes, kMxRowTile), expect_codes(w->value.codes_for_inputs(), kMxColumnTile);
    EXPECT_EQ(w->codes->bytes({140, 300}), 2 * 140 * 300 + 140 * 10 + 5 * 300);
    EXPECT_EQ(parameter_bytes(*w, DType::bf16, false).values, 140 * 300 * 4 + w->codes->bytes({140, 300}));
    EXPECT_EQ(w->value.bytes(), 140 * 300 * 4 + w->codes->bytes({140, 300}));
    w->master.copy_from(random({140, 300}, 7, 0.5));
    refresh_value(exec, *w);  // both anew
    expect_codes(w->value.codes, kMxRowTile), expect_codes(w->value.codes_for_inputs(), kMxColumnTile);
    const auto passes = [&](const Linear& of) {
      w->grad.zero(), w->expect(-1);
      of.forward(exec, y, x), of.backward_input(exec, dx, dy), of.backward_weight(exec, dy, x);
      return Passes{values_of(y), values_of(dx), values_of(w->grad)};
    };
    const Passes fp8 = passes(linear), exact = passes(high);
    expect_fp8_of(fp8.y, exact.y, "y"), expect_fp8_of(fp8.dx, exact.dx, "dx"), expect_fp8_of(fp8.dw, exact.dw, "dw");
    keep_what_is_read(exec, *w);
    EXPECT_FALSE(w->value.turned.codes);
    expect_codes(w->value.codes, kMxRowTile);
    EXPECT_ERROR(linear.backward_input(exec, dx, dy), ErrorKind::internal, "keeps no codes in tiles of 32 x 1");
  }
}

TEST_F(RecipeTest, EachOperandHasItsOwnRuleOfScales) {
  const Recipe fp8 = Recipe::fp8();
  const Tensor x = random({3, 200}, 1);
  const auto powers = [&](const GemmRecipe& recipe) {
    const auto rule = [&](const Activation& codes) { return codes.quantised().rule == ScaleRule::power_of_two; };
    EXPECT_EQ(rule(recipe.fprop_operand(exec, x)), rule(recipe.wgrad_operand_x(exec, x)));
    EXPECT_EQ(rule(recipe.dgrad_operand(exec, x)), rule(recipe.wgrad_operand_dy(exec, x)));
    EXPECT_EQ(recipe.weight_scale, ScaleRule::exact);
    return std::pair(rule(recipe.fprop_operand(exec, x)), rule(recipe.dgrad_operand(exec, x)));
  };
  using Rules = std::pair<bool, bool>;  // of x, of dy
  for (const GemmRecipe& recipe : {fp8.q_a, fp8.q_b, fp8.kv_a, fp8.kv_b, fp8.ffn_gate_up, fp8.ffn_down})
    EXPECT_EQ(powers(recipe), Rules(false, false));
  EXPECT_EQ(powers(fp8.o), Rules(true, false));
  EXPECT_EQ(powers(fp8.experts_gate_up), Rules(true, false));
  EXPECT_EQ(powers(fp8.experts_down), Rules(false, true));
  for (const GemmRecipe& recipe : {fp8.router, fp8.head, fp8.mtp_projection}) EXPECT_EQ(recipe, GemmRecipe());
}

// Where all products of a weight multiply codes, they replace its BF16 copy and are made of the master: rounding it to
// BF16 on the way would give other codes.
TEST_F(RecipeTest, CodesAreMadeOfTheMaster) {
  ParameterSpec spec;
  spec.name = "test", spec.shape = {140, 300}, spec.init_std = 0.3;
  const GemmRecipe fp8 = Recipe::fp8().q_b;
  for (const bool alone : {true, false}) {
    GemmRecipe recipe = fp8;
    if (!alone) recipe.dgrad = Format::high;
    auto parameter = bare_parameter(spec);
    reads(recipe, *parameter);
    parameter->codes->source = DType::bf16;
    give_memory(exec, *parameter, DType::bf16, false);
    initialize_parameter(exec, *parameter, 5);
    EXPECT_EQ(parameter->value.plain.dtype(), alone ? DType::f32 : DType::bf16);
    EXPECT_EQ(parameter->value.plain.raw() == parameter->master.raw(), alone);
    const Quantised expected =
                        ops::quantise(exec, parameter->master, kSquareTile, ScaleRule::exact, AmaxFloor::released),
                    rounded = ops::quantise(exec, parameter->master.to(exec, DType::bf16), kSquareTile,
                                            ScaleRule::exact, AmaxFloor::released);
    EXPECT_EQ(values_of(parameter->value.codes.codes), values_of(expected.codes));
    EXPECT_EQ(values_of(parameter->value.codes.scales), values_of(expected.scales));
    EXPECT_NE(values_of(rounded.codes), values_of(expected.codes));
    EXPECT_EQ(ops::dequantise(exec, parameter->value.codes).dtype(), DType::bf16);
  }
}

TEST_F(RecipeTest, CodesInTheTilesOfAPassAreTakenAsTheyAre) {
  const Tensor x = random({10, 256}, 1);
  const GemmRecipe fp8 = Recipe::fp8().q_a, travels = Recipe::fp8().experts_gate_up, high;
  const Activation codes = fp8.fprop_operand(exec, x);
  EXPECT_EQ(fp8.fprop_operand(exec, codes).quantised().codes.raw(), codes.quantised().codes.raw());
  EXPECT_EQ(fp8.dgrad_operand(exec, codes).quantised().codes.raw(), codes.quantised().codes.raw());
  EXPECT_EQ(travels.wgrad_operand_x(exec, travels.fprop_operand(exec, x)).quantised().tile, kColumnTile);
  EXPECT_EQ(high.fprop_operand(exec, x).tensor().raw(), x.raw());
  EXPECT_EQ(high.wgrad_operand_x(exec, x).tensor().raw(), x.raw());
  EXPECT_FALSE(high.wgrad_operand_x(exec, codes).is_quantised());
}

// A tile of tokens that is one expert's, whole, and in one channel zero: scale 1, codes 0, a column of zeros in dW.
TEST_F(RecipeTest, AnExpertOfOneTileOfTokensMayHaveAChannelOfZeros) {
  const Tensor offsets = Tensor::from(exec, std::vector<int32_t>{0, 128, 255}, {3});
  const GemmRecipe recipe = Recipe::fp8().experts_gate_up;
  const auto w = weight({2, 60, 140}, 1);
  const GroupedLinear linear{read(w, recipe), recipe};
  const Tensor x = random({255, 140}, 2), dy = random({255, 60}, 3);
  for (int64_t r = 0; r < 128; ++r) set_element(x, r * 140 + 7, 0), set_element(dy, r * 60 + 11, 0);
  w->grad.zero(), w->expect(-1);
  linear.backward_weight(exec, dy, x, offsets);
  const auto one = weight({60, 140}, 1);
  const Linear alone{read(one, recipe), recipe};
  one->grad.zero(), one->expect(-1);
  alone.backward_weight(exec, dy.row_range(0, 128), x.row_range(0, 128));
  for (int64_t i = 0; i < 60 * 140; ++i) {
    const double value = element(w->grad, i);
    ASSERT_EQ(value, element(one->grad, i)) << i;
    ASSERT_EQ(value == 0, i % 140 == 7 || i / 140 == 11) << i;
  }
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
