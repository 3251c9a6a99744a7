// The pieces of a stream outside its blocks: embedding, the beginning of an MTP depth, the final norm, the head.
#pragma once
#include <memory>

#include "model/layers.h"
#include "model/piece.h"

namespace hadal {

// `layers` must outlive the pieces.
std::unique_ptr<Piece> embedding_piece(const ModelLayers& layers);
std::unique_ptr<Piece> join_piece(const ModelLayers& layers, int64_t depth);  // 1-based: the stream
std::unique_ptr<Piece> final_norm_piece(const ModelLayers& layers, int64_t stream);
std::unique_ptr<Piece> head_piece(const ModelLayers& layers, int64_t stream);

}  // namespace hadal
