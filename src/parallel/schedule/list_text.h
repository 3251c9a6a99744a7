// Lists of actions as words: F0.3&B1.1 is an F of direction 0's micro-batch 3 together with a B of direction 1's
// micro-batch 1. Where micro-batches travel one way the number stands alone (F3), and behind the chunk where a rank has
// several (F1.3 is chunk 1). W is W: which one it is follows from the order of the Bi.
#pragma once
#include <string>

#include "schedule/pipeline.h"

namespace hadal {

std::string action_text(const Pipeline& pipeline, const Action& action);
std::string list_text(const Pipeline& pipeline, const Actions& list);
// One character per action for narrow pictures: F B I W, and X for a pair; small ones in direction 1.
char action_letter(const Action& action, bool pair);

}  // namespace hadal
