// Where a forward met NaN or infinity: asked only when a step has no update for that reason.
#pragma once
#include <string>

#include "model/transformer.h"
#include "train/rank_place.h"

namespace hadal {

// "layers.3.attention.o holds NaN or Inf", the first weight that does; else "layers.3.output is the first that is not
// finite", for which the global batch's micro-batches run forward once more (what is between two layers' outputs is not
// seen: a linear whose weights are finite has its layer named). Empty where both are finite.
// place: of a rank of several, which all call this and all tell the same, with "on rank 2" behind it: the weight of the
// first rank that finds one, or the output that comes first in the order in which one rank computes. Null: this rank is
// alone.
std::string where_not_finite(const Exec& exec, const Transformer& model, const std::vector<MicroBatch>& global,
                             RankPlace* place);

}  // namespace hadal
