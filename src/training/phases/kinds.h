// The kinds of phases that training alone walks through (config/phases.h). Other rooms add theirs to the list that a
// program hands on.
#pragma once
#include <vector>

#include "config/phases.h"

namespace hadal {

// pretrain  what the configuration says
// extend    longer sequences: the learning rate stays where the phase before ended (§4.3 of the report). With
//           model.yarn.factor above 1, YaRN's original context is the length that was trained without it, its factor
//           reaches the new one, and later extensions leave it as it is
// sft       fine-tuning on dialogues: sequences of whole samples that do not see each other, as many steps as
//           data.epochs give, a fixed router bias
std::vector<PhaseKind> training_kinds();

}  // namespace hadal
