// Mlp: the SwiGLU feed-forward network y = W_down(silu(W_gate x) * W_up x) (§1.2). x [rows, hidden], inner width F.
// gate and up of a row lie side by side in one buffer [rows, 2F]. Both the dense layers and the shared expert are one
// Mlp. gate and up have one recipe: codes of x serve both.
#pragma once
#include "nn/kept.h"
#include "nn/linear.h"
#include "ops/routing.h"

namespace hadal {

struct Mlp {
  Linear gate, up, down;
  Kept kept = Kept::values;  // of gate's and up's outputs, for backward

  struct Saved {
    Tensor gate_up;     // [rows, 2F]
    SwigluCodes codes;  // instead, from keep() to restore()
    // From backward_input to backward_weight: the gradients of gate and up, in the same memory; [rows, F] silu(gate) *
    // up made again; the output's gradient.
    Tensor d_gate_up, inner;
    Activation dy;
  };

  // Where the inner width is cut over ranks, rows come from others and go to them in parts. These do some rows
  // [first, first + x.rows()) of a pass; `start...` makes their buffers. What is summed over the inner width, inner()
  // and gradients(), is made of all rows before where ranks share its codes (Linear::fprop_operand).
  void start(const Exec& exec, DType dtype, int64_t rows, Saved& saved) const;
  void gate_up_part(const Exec& exec, const Activation& x, int64_t first, Saved& saved) const;
  Activation inner(const Exec& exec, const ops::RowRange& part,
                   const Saved& saved) const;  // [rows, F], as down reads it
  void start_backward(const Exec& exec, Saved& saved) const;
  void down_backward_part(const Exec& exec, const Activation& dy, int64_t first, Saved& saved) const;
  void swiglu_backward(const Exec& exec, const Activation& dy, Saved& saved) const;  // of all rows
  struct Gradients {
    Activation gate, up;  // [rows, F] each, as gate and up read them
  };
  Gradients gradients(const Exec& exec, const Saved& saved) const;
  void gate_up_backward_part(const Exec& exec, const Tensor& dx, const Gradients& of_all, int64_t first) const;

  void forward(const Exec& exec, const Tensor& y, const Activation& x, ops::Write write, Saved& saved) const;
  void keep(const Exec& exec, Saved& saved) const;
  // For backward: what was kept, or what recomputation dropped made again, as it would have been kept; the same bits.
  void restore(const Exec& exec, const Activation& x, Saved& saved) const;
  bool restore_kept(const Exec& exec, Saved& saved) const;  // without making it again; whether it is here
  void round(const Exec& exec, Saved& saved) const;         // what was made again
  void backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, ops::Write write, Saved& saved) const;
  void backward_weight(const Exec& exec, const Activation& x, Saved& saved) const;
  void each_parameter(const ParameterVisitor& visit) const;
};

}  // namespace hadal
