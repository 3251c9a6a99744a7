#include "tensor/cut_matrix.h"

#include <algorithm>

namespace hadal {

bool CutMatrix::cuts(Tile tile) const {
  return std::any_of(ends.begin(), ends.end() - 1, [&](int64_t end) { return end % along(tile) != 0; });
}

TileOrigin CutMatrix::origin(Tile tile) const {
  const int64_t within = begin() % along(tile);
  return axis == 0 ? TileOrigin{within, 0} : TileOrigin{0, within};
}

CutMatrix CutMatrix::columns(int64_t from, int64_t to) const {
  CutMatrix other{1, ends, part, exchange};
  for (int64_t& end : other.ends) end = end / from * to;
  return other;
}

TileOrigin origin_of(const CutMatrix* cut, Tile tile) { return cut ? cut->origin(tile) : TileOrigin(); }

}  // namespace hadal
