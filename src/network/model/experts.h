// Experts: the routed experts a rank holds, as grouped products over rows sorted by expert. They know nothing of the
// tokens' owners: all they see is ExpertRows, which travelled to them and is kept for W, so that nothing travels twice.
// Their outputs are not kept: the backward finds the gradient of a row's weight without them (experts.cpp). However
// many ranks send rows, those of one at a time are sorted and go through F and B: such work takes no more memory than
// the rows of one rank's micro-batch.
#pragma once
#include <functional>
#include <span>

#include "nn/kept.h"
#include "nn/linear.h"

namespace hadal {

// Rows as the experts' owner sees them, all from one rank, sorted by expert, tokens ascending within one. Offsets count
// the experts that this rank holds. What came from another rank has each token once, however many experts it visits.
struct ExpertRows {
  Activation rows;  // [n, hidden], plain or codes; where `token` is given [tokens, hidden]
  Tensor token;     // [n] i32: of each row sorted by expert the token whose it is; or none
  Tensor weight;    // [n] f32 (f64): the router's weight of the row; d weight travels back with d rows
  Tensor offsets;   // [experts + 1] i32: expert e owns rows offsets[e] .. offsets[e+1]; n is an upper bound for all

  int64_t count() const { return token ? token.count() : rows.rows(); }
  Activation sorted(const Exec& exec, const Activation& of_tokens) const;  // [n, ...] of rows that stand as `rows` do
};

class Experts {  // stacked weights [E, F, hidden], [E, hidden, F]
 public:
  struct Saved {
    Tensor gate_up;     // [n, 2F]
    SwigluCodes codes;  // instead, from keep() to restore()
    Tensor d_gate_up;   // their gradients, in the same memory, from backward_input on
    Tensor inner;       // [n, F] weight * silu(gate) * up, from backward_input on
    Activation dy;      // as the rows of x stand, from backward_input to backward_weight
  };
  struct Gradients {
    Tensor rows;    // [n, hidden]
    Tensor weight;  // [n]
  };
  GroupedLinear gate, up, down;  // gate and up have one recipe
  Kept kept = Kept::values;      // of gate's and up's outputs, for backward

  Tensor forward(const Exec& exec, const ExpertRows& x, Saved& saved) const;  // [n, hidden], not yet weighted
  void keep(const Exec& exec, Saved& saved) const { hadal::keep(exec, kept, saved.gate_up, saved.codes); }
  // For backward: what was kept, or what recomputation dropped made again, as it would have been kept; the same bits.
  void restore(const Exec& exec, const ExpertRows& x, Saved& saved) const;
  // dy: rows of the tokens' gradients, not weighted, as those of x stand
  Gradients backward_input(const Exec& exec, const ExpertRows& x, const Activation& dy, Saved& saved) const;
  // One contribution over rows that came from several ranks: each rank's rows are added as one rank adds those of a
  // micro-batch, one after another. `before` is told a rank's number first: it may run the B of its rows only then.
  using BeforeSource = std::function<void(size_t)>;
  void backward_weight(const Exec& exec, std::span<const ExpertRows> x, std::span<Saved> saved,
                       const BeforeSource& before = {}) const;
  void each_parameter(const ParameterVisitor& visit) const;

 private:
  void multiply_gate_up(const Exec& exec, const ExpertRows& x, Saved& saved) const;
};

}  // namespace hadal
