#include "nn/linear.h"

#include "base/error.h"
#include "ops/matmul_weight.h"
#include "ops/quantise.h"

namespace hadal {

void reads(const GemmRecipe& recipe, Parameter& parameter) {
  if (!recipe.reads_codes()) return;
  parameter.codes = CodeForm{recipe.weight, recipe.turned_weight, recipe.weight_scale};
  parameter.codes_alone = recipe.fprop == Format::fp8 && recipe.dgrad == Format::fp8;
}

const Weight& weight_for(const GemmRecipe& recipe, GemmPass pass, const Parameter& parameter) {
  const Weight& value = parameter.value;
  const bool forward = pass == GemmPass::fprop;
  const Tile tile = forward ? recipe.weight : recipe.turned_weight;
  check((forward ? recipe.fprop : recipe.dgrad) != Format::fp8 ||
            (value.has(WeightForm::codes) && (forward ? value.codes : value.codes_for_inputs()).tile == tile),
        ErrorKind::internal, "{} is multiplied in FP8 and keeps no codes in tiles of {} x {}", parameter.spec.name,
        tile.rows, tile.cols);
  return value;
}

void Linear::forward(const Exec& exec, const Tensor& y, const Activation& x, ops::Write write) const {
  ops::linear(exec, y, recipe.fprop_operand(exec, x), weight_for(recipe, GemmPass::fprop, *weight), write,
              recipe.accumulation);
}

void Linear::backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, ops::Write write) const {
  ops::linear_backward_input(exec, dx, recipe.dgrad_operand(exec, dy), weight_for(recipe, GemmPass::dgrad, *weight),
                             write, recipe.accumulation);
}

void Linear::weight_product(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                            ops::Write write) const {
  ops::linear_backward_weight(exec, dw, recipe.wgrad_operand_dy(exec, dy), recipe.wgrad_operand_x(exec, x), write,
                              recipe.accumulation);
}

void Linear::backward_weight(const Exec& exec, const Activation& dy, const Activation& x) const {
  weight->contribute([&](const Tensor& grad, ops::Write write) { weight_product(exec, grad, dy, x, write); });
}

void GroupedLinear::forward(const Exec& exec, const Tensor& y, const Activation& x, const Tensor& offsets,
                            ops::Write write) const {
  ops::grouped_linear(exec, y, recipe.fprop_operand(exec, x), weight_for(recipe, GemmPass::fprop, *weight), offsets,
                      write, recipe.accumulation);
}

void GroupedLinear::backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Tensor& offsets,
                                   ops::Write write) const {
  ops::grouped_linear_backward_input(exec, dx, recipe.dgrad_operand(exec, dy),
                                     weight_for(recipe, GemmPass::dgrad, *weight), offsets, write, recipe.accumulation);
}

void GroupedLinear::weight_product(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                                   const Tensor& offsets, ops::Write write) const {
  if (recipe.wgrad == Format::fp8)
    return ops::grouped_linear_backward_weight(
        exec, dw, dy, x, offsets, {recipe.token, recipe.dy_scale, recipe.x_scale}, write, recipe.accumulation);
  ops::grouped_linear_backward_weight(exec, dw, ops::dequantise(exec, dy), ops::dequantise(exec, x), offsets, write);
}

void GroupedLinear::backward_weight(const Exec& exec, const Activation& dy, const Activation& x,
                                    const Tensor& offsets) const {
  if (dy.rows() == 0) return weight->contribute_nothing();
  weight->contribute([&](const Tensor& grad, ops::Write write) { weight_product(exec, grad, dy, x, offsets, write); });
}

}  // namespace hadal
