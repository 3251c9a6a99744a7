// What the released layout stores for a model (§1.7): one tensor per expert, FP8 codes with their scales, and what MTP
// layers repeat (embedding and head). V3: 91,991 tensors, 688,574,839,360 bytes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "arch/parameter_list.h"
#include "exchange/hf_config.h"

namespace hadal {

struct ReleasedTensor {
  std::string name;   // "model.layers.3.mlp.experts.17.up_proj.weight"
  std::string dtype;  // as safetensors spells it
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::string parameter;  // ours; empty for scales and repetitions
  double init_std = 0;    // of the parameter; 0 where it does not start from noise
};

// Projections of attention and FFNs are FP8 in an FP8 model; router, norms, embedding, head and the MTP projection
// never.
bool is_stored_as_fp8(const ParameterSpec& spec);

// In the order of the list in arch. `config.fp8`, its block and `config.dtype` say how; the router's bias is F32
// always.
std::vector<ReleasedTensor> released_tensors(const HfConfig& config);

}  // namespace hadal
