// How a model computes: precision, form of attention, what backward recomputes. See transformer.h for the whole.
#pragma once
#include <cstdint>
#include <string>

#include "nn/recipe.h"

namespace hadal {

enum class Precision { fp64, fp32, bf16 };
enum class AttentionForm { up_projected, absorbed };
enum class Recompute { none, norms, all };
Precision parse_precision(const std::string& text);  // throws invalid, naming the choices
AttentionForm parse_attention_form(const std::string& text);
Recompute parse_recompute(const std::string& text);
DType activation_dtype(Precision precision);  // of activations, residual stream and most weights

struct ModelOptions {
  Precision precision = Precision::fp32;
  AttentionForm attention_form = AttentionForm::up_projected;
  Recompute recompute = Recompute::none;
  bool training = false;          // allocate gradients
  bool bare = false;              // parameters get no memory: a loader gives their values (exchange/loaded_model.h)
  int64_t loss_chunk_tokens = 0;  // rows of logits at a time; 0 chooses
  Recipe recipe = {};             // formats of the products
};

}  // namespace hadal
