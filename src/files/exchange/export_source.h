// The weights of a model's directory as an export reads them: parameter by parameter and a few rows at a time, whatever
// their stored type, from the files themselves (not the map), so that memory does not grow with the model.
#pragma once
#include <string>
#include <vector>

#include "exchange/model_directory.h"

namespace hadal {

class ExportSource {
 public:
  explicit ExportSource(ModelDirectory from) : from_(std::move(from)) {}

  const HfConfig& config() const { return from_.config; }
  const ModelConfig& model() const { return from_.config.model; }
  const std::vector<ParameterSpec>& parameters() const { return from_.parameters; }
  const Fp8Config& fp8() const { return from_.fp8; }  // as trained, else as stored
  const TensorFiles& files() const { return *from_.files; }
  const HfWeights& weights() const { return *from_.weights; }
  std::vector<std::string> notices() const { return from_.notices(); }

  // f8_e4m3 if any weight is, else the type that most bytes of the weights have: f32, bf16, f16 or f64.
  DType main_dtype() const;
  BlockSize block() const { return {config().fp8_block_rows, config().fp8_block_cols}; }

  // Rows [first, first + count) of the 2-D view of a stored tensor: as stored, but FP8 codes (whose scales are
  // `scale_name`) dequantised exactly, to F32.
  Tensor read_rows(const Exec& exec, const StoredWeight& weight, int64_t first, int64_t count) const;

  // Names, sizes and times of change of the files, and whether the averages in them are meant: the same text means the
  // same weights.
  std::string identity() const;

 private:
  ModelDirectory from_;
};

}  // namespace hadal
