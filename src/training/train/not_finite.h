// Where a forward met NaN or infinity: asked only when a step has no update for that reason.
#pragma once
#include <span>
#include <string>

#include "model/transformer.h"

namespace hadal {

// "layers.3.attention.o holds NaN or Inf", the first weight of this rank that does; else, where this rank computes the
// micro-batches alone, "layers.3.output is the first that is not finite", for which they run forward once more (what is
// between two layers' outputs is not seen: a linear whose weights are finite has its layer named). Else empty.
std::string where_not_finite(const Exec& exec, const Transformer& model, std::span<const MicroBatch> batches,
                             bool alone);

}  // namespace hadal
