// PipelineLinks: a rank's way to those with the neighbouring stages. Activations and gradients have groups of their
// own, over the same ranks: between two of them messages of one kind keep their order, but kinds overtake each other
// (schedule/messages.h).
#pragma once
#include "schedule/pipeline.h"

namespace hadal {

class Group;

struct PipelineLinks {
  Pipeline pipeline;             // how many micro-batches it has does not matter here
  Group* activations = nullptr;  // null: no other rank has stages
  Group* gradients = nullptr;
};

}  // namespace hadal
