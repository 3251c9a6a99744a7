// Block: one pre-norm layer, h += Attention(norm(h)); h += FFN(norm(h)), as two pieces, each with forward, B and W
// (§1.2). A piece keeps its input, the residual stream; with recomputation it makes the rest again from there, inside
// the piece.
#pragma once
#include "model/mla.h"
#include "model/moe.h"

namespace hadal {

class AttentionPiece {
 public:
  struct Saved {
    Norm::Saved norm;
    Activation normed;  // plain, or codes made by the norm for all linears that read them
    Mla::Saved mla;
  };
  Norm norm;
  Mla mla;

  Tensor forward(const Run& run, const Rows& rows, const Tensor& x, Saved& saved) const;
  Tensor backward_input(const Run& run, const Rows& rows, const Tensor& dy, Saved& saved) const;
  void backward_weight(const Run& run, Saved& saved) const;
};

class FfnPiece {
 public:
  struct Saved {
    Norm::Saved norm;
    Activation normed;  // as above; plain for a MoE layer, whose router reads no codes
    Mlp::Saved dense;
    Moe::Saved moe;
  };
  Norm norm;
  Mlp dense;  // gate.weight null: a MoE layer
  Moe moe;

  bool is_moe() const { return dense.gate.weight == nullptr; }
  GemmRecipe input_recipe() const { return is_moe() ? GemmRecipe() : dense.gate.recipe; }
  Tensor forward(const Run& run, const Rows& rows, const Tensor& x, Saved& saved) const;
  Tensor backward_input(const Run& run, const Tensor& dy, Saved& saved) const;
  void backward_weight(const Run& run, Saved& saved) const;
};

class Block {
 public:
  struct Saved {
    AttentionPiece::Saved attention;
    FfnPiece::Saved ffn;
  };
  AttentionPiece attention;
  FfnPiece ffn;

  Tensor forward(const Run& run, const Rows& rows, const Tensor& x, Saved& saved) const;
  Tensor backward_input(const Run& run, const Rows& rows, const Tensor& dy, Saved& saved) const;
  void backward_weight(const Run& run, Saved& saved) const;
  // B and W of each piece in turn: frees a piece's memory before the next begins.
  Tensor backward(const Run& run, const Rows& rows, Tensor dy, Saved& saved) const;
};

}  // namespace hadal
