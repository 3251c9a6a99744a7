// The pieces of one layer, h += Attention(norm(h)); h += FFN(norm(h)) (§1.2). A piece that begins with a norm keeps its
// input, the residual stream; with recomputation it makes the rest again from there.
#pragma once
#include <memory>

#include "model/layers.h"
#include "model/piece.h"

namespace hadal {

// Where a block stands: its stream, its number among the stage's blocks (a flight keeps things by it), its layer.
struct BlockPlace {
  int64_t stream = 0, block = 0, layer = 0;
  int64_t moe_index = -1;  // among the model's MoE layers, for loads and replayed routes
};

// Appends attention and then the dense FFN, or route, dispatch start and wait, experts, combine start and wait.
// `layers` must outlive the pieces.
void append_block_pieces(const BlockLayers& layers, const BlockPlace& place,
                         std::vector<std::unique_ptr<Piece>>& pieces);
void append_moe_pieces(const BlockLayers& layers, const BlockPlace& place, std::vector<std::unique_ptr<Piece>>& pieces);

// Steps that several pieces share.
Tensor copy_of(const Pass& pass, const Tensor& x);
Tensor normalise(const Pass& pass, const Norm& norm, const Tensor& x, Norm::Saved& saved);
// dx = dy (the residual's way) + the norm's gradient
Tensor through_norm(const Pass& pass, const Norm& norm, const Tensor& dy, const Tensor& d_normed, Norm::Saved& saved);

}  // namespace hadal
