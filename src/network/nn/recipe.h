// Recipe: in which format each product of a model is multiplied, one entry per kind of linear and pass (§3.5). A layer
// asks its own entry, so that FP8, another tile or another rule of scales changes no signature. What is not a linear
// (embedding, norms, attention core) has no entry: it stays in the model's precision.
#pragma once
#include <array>

#include "ops/matmul.h"
#include "tensor/quantised.h"

namespace hadal {

// high: the precision of the model's tensors. fp8: codes are multiplied. rounded: operands are rounded to codes, in
// tiles of any kind, and the FP32 values of these are multiplied (nn/rounded.h): deviations from the report's recipe,
// which `hadal precision` studies and no configuration asks for.
enum class Format : uint8_t { high, fp8, rounded };
enum class Kept : uint8_t { values, e4m3, e5m6 };  // for backward (nn/kept.h)

inline constexpr Tile kWholeTile{int64_t(1) << 40, int64_t(1) << 40};  // one scale for a whole tensor

// What rounded products do beside their tiles and rules.
struct Study {
  Tile gradient = kRowTile;           // of dy in Dgrad
  bool retiled = false;               // Wgrad's x is rounded as Fprop reads it before it is in Wgrad's tiles
  AmaxFloor floor = AmaxFloor::none;  // of activations and gradients
  bool operator==(const Study&) const = default;
};

// One kind of linear: y = x W^T (fprop), dx = dy W (dgrad), dW += dy^T x (wgrad). Each operand has its own rule of
// scales: powers of two where its codes are made again in other tiles, or travel.
struct GemmRecipe {
  Format fprop = Format::high, dgrad = Format::high, wgrad = Format::high;
  ScaleRule x_scale = ScaleRule::exact, dy_scale = ScaleRule::exact, weight_scale = ScaleRule::exact;
  Tile activation = kRowTile, weight = kSquareTile, token = kColumnTile;
  Tile turned_weight = kSquareTile;                          // of the weight in dgrad
  ops::Accumulation accumulation = ops::Accumulation::fp32;  // of products of codes
  Study study = {};                                          // of rounded
  bool operator==(const GemmRecipe&) const = default;

  // Operands as a pass reads them: an fp8 pass makes codes where it is not given some in its tiles, others make
  // values of codes. Where several linears of one recipe read the same x, call it once: each takes what it is given.
  // Wgrad's tiles run the other way: it is given values, or codes whose scales are powers of two (ops::quantise).
  // `cut`: of columns, where x or dy are a rank's part of them (tensor/cut_matrix.h).
  Activation fprop_operand(const Exec& exec, const Activation& x, const CutMatrix* cut = nullptr) const;
  Activation dgrad_operand(const Exec& exec, const Activation& dy, const CutMatrix* cut = nullptr) const;
  Activation wgrad_operand_x(const Exec& exec, const Activation& x) const;
  Activation wgrad_operand_dy(const Exec& exec, const Activation& dy) const;
  int64_t x_bytes(int64_t rows, int64_t cols, DType dtype) const;   // of fprop_operand's x
  int64_t dy_bytes(int64_t rows, int64_t cols, DType dtype) const;  // of dgrad_operand's dy
  // Whether a product multiplies codes of the weight, which are kept with it then (Parameter::codes).
  bool reads_codes() const { return fprop != Format::high || dgrad != Format::high; }
  // Whether readers of both recipes take the same operands.
  bool same_x(const GemmRecipe& other) const {
    return fprop == other.fprop && wgrad == other.wgrad && x_scale == other.x_scale && activation == other.activation &&
           token == other.token;
  }
};

struct Recipe {
  GemmRecipe q_a, q_b, kv_a, kv_b, o;        // q_b: also the direct query projection
  GemmRecipe ffn_gate_up, ffn_down;          // of dense layers
  GemmRecipe experts_gate_up, experts_down;  // routed and shared
  GemmRecipe router, mtp_projection, head;
  // What the sum of a token's experts inside a routing group is rounded to: the type in which it travels between ranks.
  // model: the type of the activations.
  enum class Wire : uint8_t { model, bf16 } combine = Wire::model;

  // What backward reads of a forward: the input of the linear after attention, where attention's backward reads it as
  // its result (with scales of powers of two); and the inputs of every SwiGLU, whose output is made again.
  Kept attention_output = Kept::values, swiglu_inputs = Kept::values;
  // Layers of the main model at its beginning and at its end whose linears stay high, whatever their entries say.
  int64_t high_first_layers = 0, high_last_layers = 0;

  static Recipe high() { return {}; }
  // The report's: E4M3 in all three passes of every linear but router, head and the projection of MTP modules, which
  // the released files keep high too. Scales are FP32, but powers of two of the input of the linear after attention,
  // and of what is dispatched: the experts' input, and in B the gradient of their output.
  // Attention's output is kept in E5M6, inputs of SwiGLU in E4M3.
  static Recipe fp8();
  // The same products in blocks of MX: in every operand 32 elements along the summed dimension share a power of two, so
  // of each weight there are two sets of codes. What is kept stays as it is in fp8().
  static Recipe mxfp8(ScaleRule rule = ScaleRule::power_of_two);
  // The entries that it multiplies in FP8, as the configuration names them (config/fp8_config.h).
  static constexpr std::array<GemmRecipe Recipe::*, 9> fp8_linears() {
    return {&Recipe::q_a,         &Recipe::q_b,         &Recipe::kv_a,     &Recipe::kv_b,
            &Recipe::o,           &Recipe::ffn_gate_up, &Recipe::ffn_down, &Recipe::experts_gate_up,
            &Recipe::experts_down};
  }
};

}  // namespace hadal
