#include "model/overlap.h"

namespace hadal {
namespace {

// One turn, from step `at` on; returns where the next begins.
size_t take_turn(const Pass& pass, const HalfOfPair& half, const std::vector<PieceStep>& steps, size_t at) {
  while (at < steps.size()) {
    const PieceStep& step = steps[at++];
    half.stage.run(step, pass, half.flight);
    if (step.starts_traffic()) break;
  }
  return at;
}

}  // namespace

void run_pair(const Pass& pass, const HalfOfPair& forward, const HalfOfPair& backward) {
  const std::vector<PieceStep>&f = forward.stage.forward_steps(), &b = backward.stage.backward_steps();
  size_t at_f = 0, at_b = 0;
  while (at_f < f.size() || at_b < b.size()) {
    at_b = take_turn(pass, backward, b, at_b);
    at_f = take_turn(pass, forward, f, at_f);
  }
}

}  // namespace hadal
