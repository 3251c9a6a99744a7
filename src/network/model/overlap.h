// F of one micro-batch and B of another, run together so that each computes while the other's rows travel (§3.2): the
// two take turns, and a turn ends where rows have been sent to experts or back. B, whose first rows leave at once,
// begins:
//
//   B  combine ->  |                        |  -> experts, dispatch ->  |                      |  -> attention ...
//   F              |  attention, dispatch ->|                           | -> experts, combine->|
//
// All members of a group of experts hold the same stages and run the same list, so their turns end at the same places.
#pragma once
#include "model/stage.h"

namespace hadal {

struct HalfOfPair {
  const Stage& stage;
  Flight& flight;
};
void run_pair(const Pass& pass, const HalfOfPair& forward, const HalfOfPair& backward);

}  // namespace hadal
