// How a model computes: precision, form of attention, what backward recomputes. See transformer.h for the whole.
#pragma once
#include <cstdint>
#include "base/exec.h"

#include "config/enums.h"
#include "config/fp8_config.h"
#include "config/model_config.h"
#include "nn/recipe.h"

namespace hadal {

void check_precision(Precision precision, const Exec& exec);  // throws invalid for one that the place has not
struct ModelOptions;
// Of form and cache. Throws invalid, unsupported for what cannot be, and for what only latent attention has.
void check_attention(const ModelConfig& config, const ModelOptions& options);
DType activation_dtype(Precision precision);                     // of activations, residual stream and most weights
int64_t fp8_tile(Precision precision, const Fp8Config& config);  // summed elements that share a scale
// The formats of a model's products: for fp8 the report's, as the configuration varies it; for mxfp8 blocks of MX; else
// high.
Recipe recipe_of(Precision precision, const Fp8Config& config);

struct ModelOptions {
  Precision precision = Precision::fp32;
  AttentionForm attention_form = AttentionForm::up_projected;
  Recompute recompute = Recompute::none;
  WeightFormat weights = WeightFormat::values;  // how a loader keeps them (exchange/loaded_model.h)
  CacheFormat cache = CacheFormat::values;      // also of what is scored without a cache (Mla)
  bool training = false;                        // allocate gradients
  bool bare = false;              // parameters get no memory: a loader gives their values (exchange/loaded_model.h)
  int64_t loss_chunk_tokens = 0;  // rows of logits at a time; 0 chooses
  Recipe recipe = {};             // formats of the products
};

}  // namespace hadal
