// Where a forward met NaN or infinity: asked only when a step has no update for that reason.
#pragma once
#include <string>

#include "model/transformer.h"
#include "train/rank_place.h"

namespace hadal {

// "layers.3.attention.o holds NaN or Inf", the first weight that does; else "layers.3.ffn.down is the first linear
// whose output is not finite" (or its input, which came from no linear), or of what is no linear "layers.3.output is
// the first that is not finite", for which the global batch's micro-batches run forward once more. Empty where all is
// finite.
// place: of a rank of several, which all call this and all tell the same, with "on rank 2" behind it: the weight of the
// first rank that finds one, or what comes first in the order of layers. Null: this rank is alone.
std::string where_not_finite(const Exec& exec, const Transformer& model, const std::vector<MicroBatch>& global,
                             RankPlace* place);

}  // namespace hadal
