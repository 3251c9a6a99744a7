// The kinds of phases that training alone walks through (config/phases.h). Other rooms add theirs to the list that a
// program hands on.
#pragma once
#include <vector>

#include "config/phases.h"

namespace hadal {

// pretrain  what the configuration says
// extend    longer sequences: the learning rate stays where the phase before ended (§4.3 of the report)
// sft       fine-tuning on dialogues: sequences of whole samples that do not see each other, as many steps as
//           data.epochs give, a fixed router bias; at least one source is of dialogues
// In all of them model.yarn is that of the phase before once its factor is above 1. The phase that brings it takes the
// length that was trained without it as YaRN's original context, and a factor that reaches its own length.
std::vector<PhaseKind> training_kinds();

}  // namespace hadal
