// Sums over ranks, element by element, in the order of the ranks: the one place where numbers of ranks are added.
#pragma once
#include <vector>

#include "comm/transport.h"

namespace hadal {

// to[i] = ((sources[0][i] + sources[1][i]) + sources[2][i]) ... ; `to` may be one of the sources. F64 and F32 are added
// in their own precision, BF16 in F32 and rounded once. Other formats: internal.
void sum_in_rank_order(DType dtype, MutableBytes to, const std::vector<const std::byte*>& sources);

}  // namespace hadal
