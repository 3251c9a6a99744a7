// Linear: y = x W^T with W [out, in], no bias. x [rows, in], y [rows, out]; plain operands may be column views.
// Three calls as of every layer: forward, backward_input (never touches a gradient), backward_weight (later, once).
// Activations and gradients come plain or as codes; the recipe says what each product reads. GroupedLinear: the same
// for a stack of weights [E, out, in] and rows sorted by expert, offsets[e] .. offsets[e+1] each.
#pragma once
#include "nn/parameter.h"
#include "nn/recipe.h"
#include "ops/matmul.h"

namespace hadal {

struct Linear {
  Parameter* weight = nullptr;
  GemmRecipe recipe = {};

  int64_t out_features() const { return weight->value.dim(0); }
  int64_t in_features() const { return weight->value.dim(1); }
  void forward(const Exec& exec, const Tensor& y, const Activation& x, ops::Write write = ops::Write::overwrite) const;
  void backward_input(const Exec& exec, const Tensor& dx, const Activation& dy,
                      ops::Write write = ops::Write::overwrite) const;
  void backward_weight(const Exec& exec, const Activation& dy, const Activation& x) const;
};

struct GroupedLinear {
  Parameter* weight = nullptr;
  GemmRecipe recipe = {};

  int64_t out_features() const { return weight->value.dim(1); }
  int64_t in_features() const { return weight->value.dim(2); }
  void forward(const Exec& exec, const Tensor& y, const Activation& x, std::span<const int64_t> offsets,
               ops::Write write = ops::Write::overwrite) const;
  void backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, std::span<const int64_t> offsets,
                      ops::Write write = ops::Write::overwrite) const;
  void backward_weight(const Exec& exec, const Activation& dy, const Activation& x,
                       std::span<const int64_t> offsets) const;
};

}  // namespace hadal
