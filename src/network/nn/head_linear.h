// HeadLinear: the absorbed form's view of kv_b [heads * (nope + v), rank] (§1.3): of each head h the rows W_UK,h
// [nope, rank], which carry queries into the latent space, and W_UV,h [v, rank], which carry what attention read there
// to values. Operands are rounded as kv_b's entry of the recipe says (codes and back) and multiplied in the model's
// precision: products of single heads read no codes, and the weight is the one that the up-projected form multiplies.
// Generation packs it as panels of heads, which forward alone reads.
//   forward  q~_h = q_nope,h W_UK,h       o_h = z_h W_UV,h^T
//   B        dq_nope,h = dq~_h W_UK,h^T   dz_h = do_h W_UV,h
//   W        dW_UK,h += q_nope,h^T dq~_h  dW_UV,h += do_h^T z_h
#pragma once
#include "nn/linear.h"

namespace hadal {

struct HeadLinear {
  Linear kv_b;
  int64_t heads = 0, nope = 0, rope = 0, v = 0, rank = 0;

  // q [n, heads * (nope + rope)], absorbed [n, heads * (rank + rope)]: heads [nope | rope] and [rank | rope]; the rope
  // parts are copied.
  void absorb(const Exec& exec, const Tensor& absorbed, const Tensor& q) const;
  void absorb_backward(const Exec& exec, const Tensor& dq, const Tensor& d_absorbed) const;
  // z [n, heads * rank], o [n, heads * v]
  void values(const Exec& exec, const Tensor& o, const Tensor& z) const;
  void values_backward(const Exec& exec, const Tensor& dz, const Tensor& d_o) const;
  struct Operands {
    Tensor q, d_absorbed, d_o, z;
  };
  void backward_weight(const Exec& exec, const Operands& x) const;  // one contribution, in two halves

  // Whether absorb() and values() make codes together with other tensor ranks (Linear::fprop_operand).
  bool shares_fprop_codes() const;

  Heads parts() const { return {heads, nope, v}; }  // of kv_b, as its panels are packed

 private:
  Tensor weight(const Exec& exec, Format format) const;
  // A product's operand, of `size` columns a head, in codes and back: as recipe.fprop_operand or .dgrad_operand say.
  enum class Pass : uint8_t { fprop, dgrad };
  Tensor operand(const Exec& exec, Pass pass, const Tensor& x, int64_t size) const;
  Tensor rope_part(const Tensor& x, int64_t head_size) const;
};

}  // namespace hadal
