// Who is where, as a table: what a run of several ranks says at its start and `hadal inspect --layout` shows.
#pragma once
#include <string>

#include "layout/placement.h"

namespace hadal {

// A row for each rank: its stages, and its seat along the axes that are cut.
std::string mesh_text(const ModelConfig& model, const Placement& placement);
std::string stage_text(const HeldStage& stage);  // "3: layers 12-15", "0: embedding, layers 0-3", "15: layer 60, head"

}  // namespace hadal
