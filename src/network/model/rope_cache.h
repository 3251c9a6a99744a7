// RopeCache: the rotary table of a model, grown to the highest position asked for. Many threads may ask at once; a
// table that was handed out stays what it is.
#pragma once
#include <mutex>

#include "config/model_config.h"
#include "tensor/tensor.h"

namespace hadal {

class RopeCache {
 public:
  Tensor table(const Exec& exec, const ModelConfig& config, DType dtype, int64_t n_positions);

 private:
  std::mutex mutex_;
  Tensor table_;
};

// Rotary table [n_positions, rope dim]: cos_0, sin_0, cos_1, sin_1 ... times the YaRN multiplier (§1.4), computed in
// FP64.
Tensor rope_table(const Exec& exec, const ModelConfig& config, DType dtype, int64_t n_positions);

}  // namespace hadal
