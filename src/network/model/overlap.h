// F of one micro-batch and B of another, run together so that each computes while the other's rows travel (§3.2): the
// two take turns, and a turn ends where rows have been sent to experts or back. B, whose first rows leave at once,
// begins:
//
//   B  combine ->  |                        |  -> experts, dispatch ->  |                      |  -> attention ...
//   F              |  attention, dispatch ->|                           | -> experts, combine->|
//
// Rows that take two hops (expert_traffic.h) are passed on halfway through the other's turn, so that either hop has
// some of its pieces to hide behind:
//
//   B  combine ->  |           -> ->            |  -> experts         experts' W, dispatch ->  |
//   F              |  attention      dispatch ->|              -> ->                           |  -> experts ...
//
// All members of a group of experts hold the same stages and run the same list, so their turns, and what halfway is,
// begin and end at the same places.
#pragma once
#include <functional>

#include "model/stage.h"

namespace hadal {

struct HalfOfPair {
  const Stage& stage;
  Flight& flight;
  std::function<void()> turn;  // called when one of its turns begins, or goes on
};
void run_pair(const Pass& pass, const HalfOfPair& forward, const HalfOfPair& backward);

}  // namespace hadal
