#include "model/rope_cache.h"

#include <algorithm>
#include <cmath>

#include "arch/arch.h"

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
  const std::vector<double> frequencies = rope_frequencies(config);
  const double multiplier = rope_multiplier(config);
  const Tensor table = Tensor::empty(exec, dtype, {n_positions, config.qk_rope_head_dim});
  exec.compute->parallel_for(n_positions, [&](int64_t position, int) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = double(position) * frequencies[i];
      const int64_t at = position * config.qk_rope_head_dim + 2 * int64_t(i);
      if (dtype == DType::f64) {
        table.data<double>()[at] = std::cos(angle) * multiplier;
        table.data<double>()[at + 1] = std::sin(angle) * multiplier;
      } else {
        table.data<float>()[at] = float(std::cos(angle) * multiplier);
        table.data<float>()[at + 1] = float(std::sin(angle) * multiplier);
      }
    }
  });
  return table;
}

}  // namespace hadal
