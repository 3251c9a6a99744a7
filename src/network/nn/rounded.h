// Operands of Format::rounded (nn/recipe.h): rounded to codes in tiles of any kind, and back to the FP32 values that
// these stand for. Products of such values show what a recipe does whose tiles no product of codes takes.
#pragma once
#include "nn/recipe.h"

namespace hadal {

struct Rounding {
  Tile tile = kRowTile;
  ScaleRule rule = ScaleRule::exact;
  AmaxFloor floor = AmaxFloor::none;
};
// offsets: tiles of several rows begin at each group's first row, but for one that is the whole tensor; or none.
Tensor rounded(const Exec& exec, const Activation& x, const Rounding& how, const Tensor& offsets = {});
// The operands of the three products under a recipe.
Tensor rounded_x(const Exec& exec, const GemmRecipe& recipe, const Activation& x, const Tensor& offsets = {});
Tensor rounded_dy(const Exec& exec, const GemmRecipe& recipe, const Activation& dy, const Tensor& offsets = {});
Tensor rounded_token_x(const Exec& exec, const GemmRecipe& recipe, const Activation& x, const Tensor& offsets = {});
Tensor rounded_token_dy(const Exec& exec, const GemmRecipe& recipe, const Activation& dy, const Tensor& offsets = {});
Tensor rounded_weight(const Exec& exec, const Weight& weight);  // the values of its codes

}  // namespace hadal
