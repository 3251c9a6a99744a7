#include "layout/fitting.h"

#include <fmt/format.h>

namespace hadal {

std::string nearest_fitting(const std::string& name, int64_t asked, int64_t most,
                            const std::function<bool(int64_t)>& fits) {
  int64_t below = 1, above = 0;
  for (int64_t n = 2; n <= most && above == 0; ++n) {
    if (n == asked || !fits(n)) continue;
    (n < asked ? below : above) = n;
  }
  return above > 0 ? fmt::format("{} = {} and {} fit", name, below, above) : fmt::format("{} = {} fits", name, below);
}

}  // namespace hadal
