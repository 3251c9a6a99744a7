// Experts: the routed experts a rank holds, as grouped products over rows sorted by expert. They know nothing of the
// tokens' owners: all they see is ExpertRows, which travelled to them and is kept for W, so that nothing travels twice.
// Their outputs are not kept: the backward finds the gradient of a row's weight without them (experts.cpp).
#pragma once
#include <span>

#include "nn/linear.h"

namespace hadal {

// Rows as the experts' owner sees them, all from one rank, sorted by expert, tokens ascending within one. Offsets count
// the experts that this rank holds.
struct ExpertRows {
  Activation rows;  // [n, hidden], plain or codes
  Tensor weight;    // [n] f32 (f64): the router's weight of the row; d weight travels back with d rows
  Tensor offsets;   // [experts + 1] i32: expert e owns rows offsets[e] .. offsets[e+1]; n is an upper bound for all
};

class Experts {  // stacked weights [E, F, hidden], [E, hidden, F]
 public:
  struct Saved {
    Tensor gate_up;    // [n, 2F]
    Tensor d_gate_up;  // their gradients, in the same memory, from backward_input on
    Tensor inner;      // [n, F] weight * silu(gate) * up, from backward_input on
    Activation dy;     // [n, hidden] from backward_input to backward_weight
  };
  struct Gradients {
    Tensor rows;    // [n, hidden]
    Tensor weight;  // [n]
  };
  GroupedLinear gate, up, down;  // gate and up have one recipe

  Tensor forward(const Exec& exec, const ExpertRows& x, Saved& saved) const;  // [n, hidden], not yet weighted
  void restore(const Exec& exec, const ExpertRows& x, Saved& saved) const;    // what recomputation dropped, same bits
  // dy: rows of the tokens' gradients, sorted, not weighted
  Gradients backward_input(const Exec& exec, const ExpertRows& x, const Activation& dy, Saved& saved) const;
  // One contribution over rows that came from several ranks: each rank's rows are added as one rank adds those of a
  // micro-batch, one after another.
  void backward_weight(const Exec& exec, std::span<const ExpertRows> x, std::span<Saved> saved) const;
  void each_parameter(const ParameterVisitor& visit) const;
};

}  // namespace hadal
