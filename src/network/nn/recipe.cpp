#include "nn/recipe.h"

#include "nn/product_watch.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

Activation in_format(const Exec& exec, const Activation& x, Format format, Tile tile, ScaleRule rule,
                     const CutMatrix* cut = nullptr) {
  if (format != Format::fp8) return ops::dequantise(exec, x);
  const Activation codes = ops::quantise(exec, x, tile, rule, cut);
  if (exec.watch) exec.watch->coded(exec, x, codes);
  return codes;
}

}  // namespace

Activation GemmRecipe::fprop_operand(const Exec& exec, const Activation& x, const CutMatrix* cut) const {
  return in_format(exec, x, fprop, activation, x_scale, cut);
}

Activation GemmRecipe::dgrad_operand(const Exec& exec, const Activation& dy, const CutMatrix* cut) const {
  return in_format(exec, dy, dgrad, activation, dy_scale, cut);
}

Activation GemmRecipe::wgrad_operand_x(const Exec& exec, const Activation& x) const {
  return in_format(exec, x, wgrad, token, x_scale);
}

Activation GemmRecipe::wgrad_operand_dy(const Exec& exec, const Activation& dy) const {
  return in_format(exec, dy, wgrad, token, dy_scale);
}

int64_t GemmRecipe::x_bytes(int64_t rows, int64_t cols, DType dtype) const {
  return fprop == Format::fp8 ? Quantised::bytes_of({rows, cols}, activation, scale_type(x_scale))
                              : rows * cols * dtype_bytes(dtype);
}

int64_t GemmRecipe::dy_bytes(int64_t rows, int64_t cols, DType dtype) const {
  return dgrad == Format::fp8 ? Quantised::bytes_of({rows, cols}, activation, scale_type(dy_scale))
                              : rows * cols * dtype_bytes(dtype);
}

Recipe Recipe::fp8() {
  GemmRecipe exact;
  exact.fprop = exact.dgrad = exact.wgrad = Format::fp8;
  Recipe recipe;
  for (GemmRecipe Recipe::*entry : fp8_linears()) recipe.*entry = exact;
  recipe.o.x_scale = recipe.experts_gate_up.x_scale = recipe.experts_down.dy_scale = ScaleRule::power_of_two;
  recipe.attention_output = Kept::e5m6, recipe.swiglu_inputs = Kept::e4m3;
  return recipe;
}

Recipe Recipe::mxfp8(ScaleRule rule) {
  Recipe recipe = fp8();
  for (GemmRecipe Recipe::*entry : fp8_linears()) {
    GemmRecipe& gemm = recipe.*entry;
    gemm.x_scale = gemm.dy_scale = gemm.weight_scale = rule;
    gemm.activation = gemm.weight = kMxRowTile, gemm.token = gemm.turned_weight = kMxColumnTile;
  }
  return recipe;
}

}  // namespace hadal
