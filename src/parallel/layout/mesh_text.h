// Who is where, as a table: what a run of several ranks says at its start and `hadal inspect --layout` shows.
#pragma once
#include <string>

#include "layout/placement.h"

namespace hadal {

// Up to so many ranks have a row each: its stages, and its seat along the axes that are cut. Of more the ranks of each
// pipeline seat have one, with the ranges of their seats, and a second table says along each axis which ranks are a
// group.
constexpr int64_t kMostRankRows = 32;
std::string mesh_text(const ModelConfig& model, const Placement& placement);
std::string stage_text(const HeldStage& stage);  // "3: layers 12-15", "0: embedding, layers 0-3", "15: layer 60, head"
std::string stages_text(const Placement& placement, int64_t rank);  // of all that it holds, "; " between
std::string range_text(int64_t first, int64_t count);               // "4-7", of one "4"

}  // namespace hadal
