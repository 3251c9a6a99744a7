#include "model/rope_cache.h"

#include <algorithm>

#include "arch/arch.h"
#include "ops/pointwise.h"

namespace hadal {

Tensor RopeCache::table(const Exec& exec, const ModelConfig& config, DType dtype, int64_t n_positions) {
  const std::lock_guard lock(mutex_);
  if (table_ && table_.dim(0) >= n_positions) return table_;
  int64_t size = 256;
  while (size < n_positions) size *= 2;
  table_ = rope_table(exec, config, dtype, std::min(size, std::max(n_positions, config.max_positions)));
  return table_;
}

Tensor rope_table(const Exec& exec, const ModelConfig& config, DType dtype, int64_t n_positions) {
  const Tensor table = Tensor::empty(exec, dtype, {n_positions, config.rotary_dim()});
  ops::rope_table(exec, table, rope_frequencies(config), rope_multiplier(config));
  return table;
}

}  // namespace hadal
