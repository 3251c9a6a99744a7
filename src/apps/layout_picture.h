// hadal inspect --layout --svg: who is where in a layout, and what ranks send each other in a step.
#pragma once
#include <string>

#include "config/config.h"
#include "layout/placement.h"

namespace hadal {

// Neighbouring ranks share a square where there are too many to draw each: as few of them as keep a side at 64 squares.
int64_t ranks_of_a_square(int64_t n_ranks);

// The precision must be chosen.
std::string layout_svg(const Config& config, const Placement& placement);

}  // namespace hadal
