#include "nn/recipe.h"

#include "ops/quantise.h"

namespace hadal {
namespace {

Activation in_format(const Exec& exec, const Activation& x, Format format, Tile tile, ScaleRule rule) {
  if (format == Format::fp8) return ops::quantise(exec, x, tile, rule);
  return ops::dequantise(exec, x);
}

}  // namespace

Activation GemmRecipe::fprop_operand(const Exec& exec, const Activation& x) const {
  return in_format(exec, x, fprop, activation, scale_rule);
}

Activation GemmRecipe::dgrad_operand(const Exec& exec, const Activation& dy) const {
  return in_format(exec, dy, dgrad, activation, scale_rule);
}

Activation GemmRecipe::wgrad_operand(const Exec& exec, const Activation& x_or_dy) const {
  return in_format(exec, x_or_dy, wgrad, token, scale_rule);
}

Recipe Recipe::fp8() {
  GemmRecipe exact;
  exact.fprop = exact.dgrad = exact.wgrad = Format::fp8;
  GemmRecipe power_of_two = exact;
  power_of_two.scale_rule = ScaleRule::power_of_two;
  Recipe recipe;
  recipe.q_a = recipe.q_b = recipe.kv_a = recipe.kv_b = exact;
  recipe.ffn_gate_up = recipe.ffn_down = recipe.mtp_projection = exact;
  recipe.o = recipe.experts_gate_up = recipe.experts_down = power_of_two;
  return recipe;
}

}  // namespace hadal
