// Whether a model's weights fit into this machine's memory, and how long a text fits beside them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace hadal {

struct MemoryFit {
  std::string precision;
  int64_t weight_bytes = 0, cache_bytes_per_1000_tokens = 0;
  int64_t limit = 0;  // bytes of the machine or of its control group
  bool fits = false;
  int64_t context_tokens = 0;  // that fit beside the weights, at most max_positions
};
std::vector<MemoryFit> memory_fits(const ModelConfig& model);  // fp32, bf16

}  // namespace hadal
