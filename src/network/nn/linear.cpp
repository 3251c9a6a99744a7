#include "nn/linear.h"

#include "base/error.h"
#include "nn/product_watch.h"
#include "nn/rounded.h"
#include "ops/matmul_weight.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

const Activation kNone;
const Tensor kNoOffsets;

void show(const Exec& exec, const ProductSeen& seen) {
  if (exec.watch) exec.watch->product(exec, seen);
}

}  // namespace

void reads(const GemmRecipe& recipe, Parameter& parameter) {
  if (!recipe.reads_codes()) return;
  parameter.codes = CodeForm{recipe.weight, recipe.turned_weight, recipe.weight_scale};
  parameter.codes_alone = recipe.fprop != Format::high && recipe.dgrad != Format::high;
  parameter.codes_may_be_packed = recipe.fprop == Format::fp8 && recipe.weight == kSquareTile &&
                                  recipe.activation == kRowTile && recipe.accumulation == ops::Accumulation::fp32;
}

const Weight& weight_for(const GemmRecipe& recipe, GemmPass pass, const Parameter& parameter) {
  const Weight& value = parameter.value;
  const bool forward = pass == GemmPass::fprop;
  const Tile tile = forward ? recipe.weight : recipe.turned_weight;
  if (forward && parameter.codes_may_be_packed && value.has(WeightForm::panels)) return value;
  check((forward ? recipe.fprop : recipe.dgrad) == Format::high ||
            (value.has(WeightForm::codes) && (forward ? value.codes : value.codes_for_inputs()).tile == tile),
        ErrorKind::internal, "{} is multiplied in FP8 and keeps no codes in tiles of {} x {}", parameter.spec.name,
        tile.rows, tile.cols);
  return value;
}

Activation Linear::dgrad_operand(const Exec& exec, const Activation& dy) const {
  const CutMatrix* rows = weight->cut_along(0);
  if (!rows) return recipe.dgrad_operand(exec, dy);
  const CutMatrix outputs = rows->columns(1, 1);
  return recipe.dgrad_operand(exec, dy, &outputs);
}

bool Linear::shares_fprop_codes() const {
  const CutMatrix* columns = weight->cut_along(1);
  return columns && recipe.fprop == Format::fp8 && columns->cuts(recipe.activation);
}

// Codes that ranks make together are made before they are shown: who looks on makes none of its own.
void Linear::forward(const Exec& exec, const Tensor& y, const Activation& given, ops::Write write) const {
  const Activation x = weight->cut_along(1) ? fprop_operand(exec, given) : given;
  show(exec, {Product::fprop, weight, recipe, x, kNone, kNoOffsets});
  const Weight& w = weight_for(recipe, GemmPass::fprop, *weight);
  if (recipe.fprop == Format::rounded)
    return ops::linear(exec, y, rounded_x(exec, recipe, x), rounded_weight(exec, w), write);
  ops::linear(exec, y, recipe.fprop_operand(exec, x), w, write, recipe.accumulation);
}

void Linear::backward_input(const Exec& exec, const Tensor& dx, const Activation& given, ops::Write write) const {
  const Activation dy = weight->cut_along(0) ? dgrad_operand(exec, given) : given;
  show(exec, {Product::dgrad, weight, recipe, kNone, dy, kNoOffsets});
  const Weight& w = weight_for(recipe, GemmPass::dgrad, *weight);
  if (recipe.dgrad == Format::rounded)
    return ops::linear_backward_input(exec, dx, rounded_dy(exec, recipe, dy), rounded_weight(exec, w), write);
  ops::linear_backward_input(exec, dx, recipe.dgrad_operand(exec, dy), w, write, recipe.accumulation);
}

void Linear::weight_product(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                            ops::Write write) const {
  show(exec, {Product::wgrad, weight, recipe, x, dy, kNoOffsets});
  if (recipe.wgrad == Format::rounded)
    return ops::linear_backward_weight(exec, dw, rounded_token_dy(exec, recipe, dy), rounded_token_x(exec, recipe, x),
                                       write);
  ops::linear_backward_weight(exec, dw, recipe.wgrad_operand_dy(exec, dy), recipe.wgrad_operand_x(exec, x), write,
                              recipe.accumulation);
}

void Linear::backward_weight(const Exec& exec, const Activation& dy, const Activation& x) const {
  weight->contribute([&](const Tensor& grad, ops::Write write) { weight_product(exec, grad, dy, x, write); });
}

void GroupedLinear::forward(const Exec& exec, const Tensor& y, const Activation& x, const Tensor& offsets,
                            ops::Write write) const {
  show(exec, {Product::fprop, weight, recipe, x, kNone, offsets});
  const Weight& w = weight_for(recipe, GemmPass::fprop, *weight);
  if (recipe.fprop == Format::rounded)
    return ops::grouped_linear(exec, y, rounded_x(exec, recipe, x, offsets), rounded_weight(exec, w), offsets, write);
  ops::grouped_linear(exec, y, recipe.fprop_operand(exec, x), w, offsets, write, recipe.accumulation);
}

void GroupedLinear::backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Tensor& offsets,
                                   ops::Write write) const {
  show(exec, {Product::dgrad, weight, recipe, kNone, dy, offsets});
  const Weight& w = weight_for(recipe, GemmPass::dgrad, *weight);
  if (recipe.dgrad == Format::rounded)
    return ops::grouped_linear_backward_input(exec, dx, rounded_dy(exec, recipe, dy, offsets), rounded_weight(exec, w),
                                              offsets, write);
  ops::grouped_linear_backward_input(exec, dx, recipe.dgrad_operand(exec, dy), w, offsets, write, recipe.accumulation);
}

void GroupedLinear::weight_product(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                                   const Tensor& offsets, ops::Write write) const {
  show(exec, {Product::wgrad, weight, recipe, x, dy, offsets});
  if (recipe.wgrad == Format::rounded)
    return ops::grouped_linear_backward_weight(exec, dw, rounded_token_dy(exec, recipe, dy, offsets),
                                               rounded_token_x(exec, recipe, x, offsets), offsets, write);
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
