// On what all ranks agree: what they start as, and what one of them wants.
#pragma once
#include "base/exec.h"
#include "comm/group.h"
#include "config/config.h"

namespace hadal {

// Throws invalid, naming both ranks' values, where this rank computes with other kernels than another or, of ranks that
// are processes, is another program or was started with another configuration than the first. Called by all ranks.
void check_same_start(Group& ranks, Isa isa, const Config& config, bool processes);

// Whether any rank says so; all hear it at the same place.
bool any_rank(Group& ranks, bool own);

}  // namespace hadal
