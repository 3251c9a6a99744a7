#include "layout/fitting.h"

#include <fmt/format.h>

namespace hadal {

std::string nearest_divisors(int64_t whole, int64_t asked) {
  int64_t below = 0, above = 0;
  for (int64_t n = 1; n <= whole; ++n) {
    if (whole % n != 0) continue;
    if (n <= asked) below = n;
    if (n > asked && above == 0) above = n;
  }
  return above > 0 ? fmt::format("{} and {} divide it", below, above) : fmt::format("{} divides it", below);
}

}  // namespace hadal
