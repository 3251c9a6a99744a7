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
  return in_format(exec, x, fprop, activation, x_scale);
}

Activation GemmRecipe::dgrad_operand(const Exec& exec, const Activation& dy) const {
  return in_format(exec, dy, dgrad, activation, dy_scale);
}

Activation GemmRecipe::wgrad_operand_x(const Exec& exec, const Activation& x) const {
  return in_format(exec, x, wgrad, token, x_scale);
}

Activation GemmRecipe::wgrad_operand_dy(const Exec& exec, const Activation& dy) const {
  return in_format(exec, dy, wgrad, token, dy_scale);
}

Recipe Recipe::fp8() {
  GemmRecipe exact;
  exact.fprop = exact.dgrad = exact.wgrad = Format::fp8;
  Recipe recipe;
  for (GemmRecipe Recipe::*entry :
       {&Recipe::q_a, &Recipe::q_b, &Recipe::kv_a, &Recipe::kv_b, &Recipe::o, &Recipe::ffn_gate_up, &Recipe::ffn_down,
        &Recipe::experts_gate_up, &Recipe::experts_down})
    recipe.*entry = exact;
  recipe.o.x_scale = recipe.experts_gate_up.x_scale = recipe.experts_down.dy_scale = ScaleRule::power_of_two;
  return recipe;
}

}  // namespace hadal
