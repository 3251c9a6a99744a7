#include "kernels/least_values.h"

#include <algorithm>

namespace hadal::kernels::reference {

void least_values(const LeastValues& k) {
  for (int64_t i = 0; i < k.functions; ++i) {
    uint64_t least = ~uint64_t(0);
    for (int64_t j = 0; j < k.n; ++j) least = std::min(least, k.factors[i] * k.x[j] + k.offsets[i]);
    k.least[i] = least;
  }
}

}  // namespace hadal::kernels::reference
