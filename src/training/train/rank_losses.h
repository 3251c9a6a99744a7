// What the ranks of a data group found in their micro-batches, brought together once per step: losses, counts, expert
// loads and the routers' faults mean the same in every layout.
#pragma once
#include "comm/group.h"
#include "model/losses.h"

namespace hadal {

// The sums of all ranks, merged in their order, on every rank. Of one rank: its own, to the bit.
LossSums over_ranks(const LossSums& own, Group& group);

}  // namespace hadal
