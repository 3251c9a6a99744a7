// Where a forward met NaN or infinity: asked only when a step has no update for that reason.
#pragma once
#include <span>
#include <string>

#include "model/transformer.h"
#include "train/rank_place.h"

namespace hadal {

// "layers.3.attention.o holds NaN or Inf", the first weight that does; else, where a rank computes its micro-batches
// alone, "layers.3.ffn.down is the first linear whose output is not finite" (or its input, which came from no linear),
// or what is not a linear, "final_norm is the first that is not finite", for which they run forward once more. Else
// empty.
// place: of a rank of several, which all call this; what the first rank that knows something knows is told by all, with
// "on rank 2" behind it. Null: this rank is alone.
std::string where_not_finite(const Exec& exec, const Transformer& model, std::span<const MicroBatch> batches,
                             RankPlace* place);

}  // namespace hadal
