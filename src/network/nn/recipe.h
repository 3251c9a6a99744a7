// Recipe: in which format each product of a model is multiplied, one entry per kind of linear and pass (§3.5). A layer
// asks its own entry, so that FP8, another tile or another rule of scales changes no signature. What is not a linear
// (embedding, norms, attention core) has no entry: it stays in the model's precision.
#pragma once
#include "tensor/quantised.h"

namespace hadal {

enum class Format : uint8_t { high, fp8 };  // high: the precision of the model's tensors

// One kind of linear: y = x W^T (fprop), dx = dy W (dgrad), dW += dy^T x (wgrad).
struct GemmRecipe {
  Format fprop = Format::high, dgrad = Format::high, wgrad = Format::high;
  ScaleRule scale_rule = ScaleRule::exact;
  Tile activation = kRowTile, weight = kSquareTile, token = kColumnTile;
  bool operator==(const GemmRecipe&) const = default;

  // Operands as a pass reads them: an fp8 pass makes codes where it is not given some in its tiles, a high one makes
  // values of codes. Where several linears of one recipe read the same x, call it once: each takes what it is given.
  Activation fprop_operand(const Exec& exec, const Activation& x) const;
  Activation dgrad_operand(const Exec& exec, const Activation& dy) const;
  Activation wgrad_operand(const Exec& exec, const Activation& x_or_dy) const;
  // Whether a product multiplies codes of the weight, which are kept with it then (Parameter::code_tile).
  bool reads_codes() const { return fprop == Format::fp8 || dgrad == Format::fp8; }
};

struct Recipe {
  GemmRecipe q_a, q_b, kv_a, kv_b, o;        // q_b: also the direct query projection
  GemmRecipe ffn_gate_up, ffn_down;          // of dense layers
  GemmRecipe experts_gate_up, experts_down;  // routed and shared
  GemmRecipe router, mtp_projection, head;
  // What the sum of a token's experts inside a routing group is rounded to: the type in which it travels between ranks.
  // model: the type of the activations.
  enum class Wire : uint8_t { model, bf16 } combine = Wire::model;

  static Recipe high() { return {}; }
  // The report's: E4M3 in all three passes of every linear but router and head; power-of-two scales where it says so,
  // of what is dispatched to experts and of the input of the linear after attention.
  static Recipe fp8();
};

}  // namespace hadal
