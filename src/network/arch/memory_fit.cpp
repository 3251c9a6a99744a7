#include "arch/memory_fit.h"

#include <algorithm>
#include <utility>

#include "arch/arch.h"
#include "base/system_info.h"

namespace hadal {

std::vector<MemoryFit> memory_fits(const ModelConfig& model) {
  const auto counts = count_parameters(model);
  const int64_t cached = cache_bytes(model).own / 2;  // values per token
  std::vector<MemoryFit> fits;
  for (const auto& [name, bytes] : {std::pair<const char*, int64_t>{"fp32", 4}, {"bf16", 2}}) {
    MemoryFit fit;
    fit.precision = name;
    fit.weight_bytes = bytes * (counts.total + counts.mtp);
    fit.cache_bytes_per_1000_tokens = 1000 * bytes * cached;
    fit.limit = int64_t(memory_info().total);
    fit.fits = fit.weight_bytes <= fit.limit;
    if (fit.fits) fit.context_tokens = std::min((fit.limit - fit.weight_bytes) / (bytes * cached), model.max_positions);
    fits.push_back(fit);
  }
  return fits;
}

}  // namespace hadal
