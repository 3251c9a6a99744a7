// See disjoint_sets.h.
#include "data/disjoint_sets.h"

#include <algorithm>

namespace hadal::data {

void DisjointSets::join(uint32_t a, uint32_t b) {
  a = first(a), b = first(b);
  parents_[std::max(a, b)] = std::min(a, b);  // the first document is the one that stays
}

}  // namespace hadal::data
