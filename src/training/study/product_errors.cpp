#include "study/product_errors.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "config/config_io.h"
#include "model/options.h"
#include "nn/init.h"
#include "nn/kept.h"
#include "nn/linear.h"
#include "ops/attention.h"
#include "ops/quantise.h"
#include "proof/squares.h"

namespace hadal {
namespace {

constexpr uint64_t kSeed = 1;

// Gaussian values; rows (tokens) and columns (channels) of sizes exp(sigma N).
Tensor drawn(const Exec& exec, int64_t rows, int64_t cols, const char* name, double row_sigma = 0,
             double col_sigma = 0) {
  const Tensor x = Tensor::empty(exec, DType::f32, {rows, cols});
  const uint64_t stream = stream_id(name), row_stream = stream + 1, col_stream = stream + 2;
  for (int64_t r = 0; r < rows; ++r) {
    const double of_row = std::exp(row_sigma * random_normal(kSeed, row_stream, uint64_t(r)));
    for (int64_t c = 0; c < cols; ++c)
      x.data<float>()[r * cols + c] = float(random_normal(kSeed, stream, uint64_t(r * cols + c)) * of_row *
                                            std::exp(col_sigma * random_normal(kSeed, col_stream, uint64_t(c))));
  }
  return x.to(exec, DType::bf16);
}

struct DrawnLinear {
  std::unique_ptr<Parameter> weight;
  GemmRecipe recipe;
  DrawnLinear(const Exec& exec, const GemmRecipe& recipe, int64_t out, int64_t in) : recipe(recipe) {
    ParameterSpec spec;
    spec.name = "drawn", spec.shape = {out, in}, spec.init_std = 0.05;
    weight = bare_parameter(spec);
    reads(recipe, *weight);
    give_memory(exec, *weight, DType::f32, false);
    initialize_parameter(exec, *weight, kSeed);
  }
  Linear linear() const { return {weight.get(), recipe}; }
};

double distance(const float* a, const float* b, int64_t n) {
  Squares squares;
  for (int64_t i = 0; i < n; ++i) squares.take(double(a[i]), double(b[i]));
  return squares.error();
}
double distance(const Tensor& a, const Tensor& b) { return distance(a.data<float>(), b.data<float>(), b.count()); }

double mean_row_distance(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t r = 0; r < b.rows(); ++r)
    sum += distance(a.data<float>() + r * b.cols(), b.data<float>() + r * b.cols(), b.cols());
  return sum / double(b.rows());
}

GemmRecipe rounded_recipe() {
  GemmRecipe recipe = Recipe::fp8().q_b;
  recipe.fprop = recipe.dgrad = recipe.wgrad = Format::rounded;
  return recipe;
}

ProductRow retiled(const Exec& exec) {
  const Tensor x = drawn(exec, 1024, 512, "product.x", 0.5, 1.0), dy = drawn(exec, 1024, 256, "product.dy", 0.5, 1.0);
  const auto dw = [&](const GemmRecipe& recipe) {
    const DrawnLinear one(exec, recipe, 256, 512);
    const Tensor result = Tensor::empty(exec, DType::f32, {256, 512});
    one.linear().weight_product(exec, result, dy, x, ops::Write::overwrite);
    return result;
  };
  GemmRecipe other = rounded_recipe();
  other.study.retiled = true;
  const Tensor high = dw({});
  return {"dW, sizes of tokens and channels spread",
          "x in 128 x 1 from its values",
          "from codes in 1 x 128, exact scales",
          distance(dw(Recipe::fp8().q_b), high),
          distance(dw(other), high),
          1.15,
          {}};
}

// dx of a linear of 384 channels.
Tensor gradient_of_input(const Exec& exec, const GemmRecipe& recipe, const Tensor& dy) {
  const DrawnLinear one(exec, recipe, dy.cols(), 384);
  const Tensor result = Tensor::empty(exec, DType::f32, {dy.rows(), 384});
  one.linear().backward_input(exec, result, dy);
  return result;
}

ProductRow square_gradients(const Exec& exec, double sigma, double least) {
  const Tensor dy = drawn(exec, 512, 256, "product.tokens", sigma);
  const auto dx = [&](const GemmRecipe& recipe) { return gradient_of_input(exec, recipe, dy); };
  GemmRecipe other = rounded_recipe();
  other.study.gradient = kSquareTile;
  const Tensor high = dx({});
  return {fmt::format("dx of a token (mean), sizes of tokens log-normal, sigma = {}", sigma),
          "dy in 1 x 128",
          "dy in 128 x 128",
          mean_row_distance(dx(Recipe::fp8().q_b), high),
          mean_row_distance(dx(other), high),
          least,
          {}};
}

// Gradients of a mean over many tokens are small; a floor of their tiles' maxima loses them.
ProductRow floored(const Exec& exec, double deviation, double least) {
  const Tensor drawn_dy = drawn(exec, 256, 256, "product.small");
  const Tensor dy = Tensor::empty(exec, DType::f32, {256, 256});
  for (int64_t i = 0; i < dy.count(); ++i) dy.data<float>()[i] = float(deviation * element(drawn_dy, i));
  const auto dx = [&](const GemmRecipe& recipe) { return gradient_of_input(exec, recipe, dy); };
  GemmRecipe other = rounded_recipe();
  other.study.floor = AmaxFloor::released;
  const Tensor high = dx({});
  return {fmt::format("dx, gradients of deviation {:g}", deviation),
          "dy without a floor",
          "with one of 1e-4",
          distance(dx(Recipe::fp8().q_b), high),
          distance(dx(other), high),
          least,
          {}};
}

// Sums alone: the same codes, summed as the configuration says, against the sums of FP32.
ProductRow unpromoted(const Exec& exec) {
  ProductRow row{"sums of codes over K = 4096, Gaussian", "promoted every 128", "never promoted", 0, 0, 5, {}};
  const Tensor x = drawn(exec, 48, 4096, "product.long");
  const auto y = [&](const std::string& accumulate) {
    Config config;
    apply_overrides(config, {"train.precision=fp8", "fp8.accumulate=" + accumulate});
    const DrawnLinear one(exec, recipe_of(config.train.precision, config.fp8).q_b, 48, 4096);
    const Tensor result = Tensor::empty(exec, DType::f32, {48, 48});
    one.linear().forward(exec, result, x);
    return result;
  };
  try {
    const Tensor sums = y("fp32");
    row.our_error = distance(y("hopper"), sums), row.their_error = distance(y("hopper_unpromoted"), sums);
  } catch (const Error& error) {
    row.missing = error.what();
  }
  return row;
}

// Causal attention: dQ where backward reads the output O as kept. D = sum of dO O is what the rounding of O reaches.
ProductRow kept_outputs(const Exec& exec) {
  constexpr int64_t kTokens = 256, kHeads = 8, kNope = 48, kRope = 16, kValue = 64;
  const auto wide = [&](const Tensor& t) { return t.to(exec, DType::f32); };
  const Tensor q = wide(drawn(exec, kTokens, kHeads * (kNope + kRope), "attention.q")),
               k = wide(drawn(exec, kTokens, kHeads * kNope, "attention.k")),
               rope = wide(drawn(exec, kTokens, kRope, "attention.rope")),
               v = wide(drawn(exec, kTokens, kHeads * kValue, "attention.v")),
               d_o = wide(drawn(exec, kTokens, kHeads * kValue, "attention.do"));
  const std::vector<Segment> segments = {{0, kTokens, 0, kTokens}};
  ops::AttentionInputs in;
  in.q = q, in.k_nope = k, in.k_rope = rope, in.v = v;
  in.n_heads = kHeads, in.k_head_stride = kNope, in.v_head_stride = kValue, in.d_nope = kNope, in.d_rope = kRope,
  in.d_v = kValue;
  in.scale = 1 / std::sqrt(double(kNope + kRope));
  in.segments = &segments;
  const auto like = [&](const Tensor& t) { return Tensor::zeros(exec, DType::f32, {t.rows(), t.cols()}); };
  const Tensor o = like(v), lse = Tensor::zeros(exec, DType::f32, {kTokens, kHeads});
  ops::attention_forward(exec, in, o, lse);
  const auto dq = [&](Kept kept) {
    const Tensor result = like(q);
    const Tensor read = wide(ops::dequantise(exec, keep(exec, o, kept, ScaleRule::power_of_two)));
    ops::attention_backward(exec, in, read, lse, d_o, {result, like(k), like(v), like(rope)});
    return result;
  };
  const Tensor exact = dq(Kept::values);
  return {"dQ of attention, its output kept", "in E5M6", "in E4M3", distance(dq(Kept::e5m6), exact),
          distance(dq(Kept::e4m3), exact),    4,         {}};
}

}  // namespace

std::vector<ProductRow> product_errors(const Exec& exec) {
  std::vector<ProductRow> rows = {retiled(exec)};
  for (const double sigma : {1.0, 2.0, 3.0, 4.0}) rows.push_back(square_gradients(exec, sigma, sigma == 3 ? 3 : 0));
  for (const double deviation : {1e-8, 1e-9, 1e-10})
    rows.push_back(floored(exec, deviation, deviation < 5e-10 ? 20 : 0));
  rows.push_back(unpromoted(exec));
  rows.push_back(kept_outputs(exec));
  return rows;
}

}  // namespace hadal
