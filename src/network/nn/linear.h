// Linear: y = x W^T with W [out, in], no bias. x [rows, in], y [rows, out]; plain operands may be column views.
// Three calls, as every layer has them: forward, backward_input (touches no gradient of a weight), backward_weight
// (later, once). Activations and gradients come plain or as codes; the recipe says what each product reads.
// GroupedLinear: the same for a stack of weights [E, out, in] and rows sorted by expert: expert e has the rows
// offsets[e] .. offsets[e+1].
#pragma once
#include "nn/parameter.h"
#include "nn/recipe.h"
#include "tensor/quantised.h"

namespace hadal {

// A linear with this recipe will read the parameter: from its next refresh_value() on it keeps what products read.
void reads(const GemmRecipe& recipe, Parameter& parameter);
// Its values, for y = x W^T or dx = dy W. Throws internal when codes of the recipe's tiles are wanted and not kept.
enum class GemmPass : uint8_t { fprop, dgrad };
const Weight& weight_for(const GemmRecipe& recipe, GemmPass pass, const Parameter& parameter);

struct Linear {
  Parameter* weight = nullptr;
  GemmRecipe recipe = {};

  int64_t out_features() const { return weight->box.size[0]; }
  int64_t in_features() const { return weight->box.size[1]; }
  // What forward makes of x, and backward_input of dy, before the product; each takes what it is given of it. Where the
  // summed dimension is cut over tensor ranks, these make the codes of shared tiles together: all of them at the same
  // time, of the same rows. Who takes rows in an order of its own makes it of all rows first.
  Activation fprop_operand(const Exec& exec, const Activation& x) const {
    return recipe.fprop_operand(exec, x, weight->cut_along(1));
  }
  Activation dgrad_operand(const Exec& exec, const Activation& dy) const;
  bool shares_fprop_codes() const;  // whether fprop_operand is such codes
  void forward(const Exec& exec, const Tensor& y, const Activation& x, ops::Write write = ops::Write::overwrite) const;
  void backward_input(const Exec& exec, const Tensor& dx, const Activation& dy,
                      ops::Write write = ops::Write::overwrite) const;
  void backward_weight(const Exec& exec, const Activation& dy, const Activation& x) const;
  // The product of backward_weight alone, for a contribution made of several: dw (+)= dy^T x.
  void weight_product(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                      ops::Write write) const;
};

struct GroupedLinear {
  Parameter* weight = nullptr;
  GemmRecipe recipe = {};

  int64_t out_features() const { return weight->box.size[1]; }
  int64_t in_features() const { return weight->box.size[2]; }
  void forward(const Exec& exec, const Tensor& y, const Activation& x, const Tensor& offsets,
               ops::Write write = ops::Write::overwrite) const;
  void backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Tensor& offsets,
                      ops::Write write = ops::Write::overwrite) const;
  // Experts without rows contribute zeros, or nothing where others came before; without any row at all nothing is
  // contributed.
  void backward_weight(const Exec& exec, const Activation& dy, const Activation& x, const Tensor& offsets) const;
  // The product of backward_weight alone, for a contribution made of several.
  void weight_product(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                      const Tensor& offsets, ops::Write write) const;
};

}  // namespace hadal
