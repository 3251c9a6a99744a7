// Fp8Config: what may vary of FP8 training (train.precision = "fp8" and "mxfp8"); the default of fp8 is the report's
// recipe (§3.3, §3.5), in mxfp8 every operand is cut into blocks of 32 with a power of two for each.
// nn/recipe.h says what becomes of it. Where codes are made again in other tiles, or travel, scales are powers of two
// whatever is said here: of the input of the linear after attention, of what is dispatched to experts and of the
// gradient of their output.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "config/enums.h"

namespace hadal {

// The linears that may be kept in high precision, named as the recipe names them.
inline constexpr std::array kFp8Linears{
    "q_a", "q_b", "kv_a", "kv_b", "o", "ffn_gate_up", "ffn_down", "experts_gate_up", "experts_down"};

inline bool is_fp8_tile(int64_t size) { return size == 128 || size == 64 || size == 32; }

struct Fp8Config {
  int64_t tile = 0;
  Fp8Scales input_scales = Fp8Scales::exact, gradient_scales = Fp8Scales::exact, weight_scales = Fp8Scales::exact;
  Fp8Kept attention_output = Fp8Kept::e5m6, swiglu_inputs = Fp8Kept::e4m3;
  Fp8Accumulate accumulate = Fp8Accumulate::fp32;
  MxScales mx_scales = MxScales::round_up;
  std::vector<std::string> high;
  int64_t high_first_layers = 0, high_last_layers = 0;
  int64_t shadow_every = 50;
  bool operator==(const Fp8Config&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("tile", c.tile,
      "elements along the summed dimension that share a scale: 128, 64 or 32 (of weights, squares); in mxfp8 32, and "
      "rows of a weight; 0 takes 128, or 32");
    v("input_scales", c.input_scales, "of linears' inputs: exact (FP32) or power_of_two; in mxfp8 see mx_scales");
    v("gradient_scales", c.gradient_scales, "of the gradients of their outputs: exact or power_of_two");
    v("weight_scales", c.weight_scales, "of their weights: exact or power_of_two");
    v("attention_output", c.attention_output, "as kept for backward: e5m6, e4m3 or bf16");
    v("swiglu_inputs", c.swiglu_inputs, "of every FFN, as kept for backward: e4m3, e5m6 or bf16");
    v("mx_scales", c.mx_scales, "of mxfp8, powers of two: round_up, or ocp, whose largest values saturate");
    v("accumulate", c.accumulate,
      "sums of products: fp32; hopper, the bits of its tensor cores (slow); or hopper_unpromoted, never moved to FP32");
    v("high", c.high,
      "linears that stay in BF16: q_a, q_b, kv_a, kv_b, o, ffn_gate_up, ffn_down, experts_gate_up, experts_down; of "
      "mha "
      "and gqa q_b is q, kv_a is k and v");
    v("high_first_layers", c.high_first_layers, "layers at the beginning whose linears all stay in BF16");
    v("high_last_layers", c.high_last_layers, "layers at the end, before MTP modules, whose linears all stay in BF16");
    v("shadow_every", c.shadow_every,
      "steps between two looks at what FP8 does to a layer, in rotation: its products are repeated in FP32; 0: never");
  }
};

}  // namespace hadal
