// Pass: what every call of a piece is handed beside its flight: the place (Exec), the clock of a step's parts, the
// rotary table, and how to compute. Rows: what attention and router must know about the token rows before them, those
// of a micro-batch (this rank's, where ranks share it, row_split.h) or, in generation, new ones behind a cache. Both
// live for one call; nobody keeps them.
#pragma once
#include <span>

#include "model/options.h"
#include "model/row_split.h"
#include "nn/micro_batch.h"
#include "nn/part_clock.h"
#include "nn/partners.h"

namespace hadal {

// Cache of one layer: normed latent and rotated rope key per position (§1.3). In the up-projected form also the keys
// and values of all heads, so that each is made from its latent only once. Llama's attention keeps keys and values of
// its key/value heads alone.
struct LayerCache {
  Activation latent;  // [rows, kv_lora_rank]; in FP8 codes in row tiles, the rope key then BF16
  Tensor rope_key;    // [rows, qk_rope_head_dim]
  Tensor kv;          // [rows, heads * (nope + v)], up-projected form only; or [rows, 2 * kv heads * d], [k | v]
};

struct Timeline;  // timeline.h
struct Doing;

struct Rows {
  Tensor positions;                                     // [n] i32
  const std::vector<ops::Segment>* segments = nullptr;  // queries: these rows; keys: these rows, or the cache's
  std::span<const ops::RowRange> sequences;             // for the balance loss
  // Where ranks share the micro-batch: how, the positions of its queries and of its keys, which of these the queries
  // are, and rows of each sequence on all ranks. Queries and keys of the segments are then those of the split.
  const RowSplit* split = nullptr;
  Tensor query_positions, key_positions, query_rows;
  std::span<const int64_t> lengths;
  const LayerCache* cache = nullptr;
  Tensor cache_rows, cache_blocks;  // I32: the cache's row of each of these rows; blocks in which segments' keys lie
};

struct Pass {
  const Exec& exec;
  PartClock& clock;
  DType dtype;  // of activations
  AttentionForm form;
  Recompute recompute;
  Tensor rope_table;  // [positions, rope dim]
  CacheFormat cache = CacheFormat::values;
  bool keep = false;           // a backward will follow
  double balance_alpha = 0;    // weight of the balance loss per sequence
  bool later_weights = false;  // W of the head comes as an action of its own, not with its B
  // No W is an action of its own and no pair runs piece by piece: nothing must come between a B and its W, so that
  // experts run both for one rank's rows after another (but where their W hides rows of tensor ranks).
  bool plain_backward = false;
  // Generation: one stream alone runs, 0 or an MTP depth, and the rows that a flight wants (Flight::wanted) go through
  // the head, which leaves logits instead of losses. Negative: no generation.
  int64_t generates = -1;
  Partners partners = {};
  Timeline* timeline = nullptr;  // gets what runs when
  Doing* doing = nullptr;        // told what runs, for the case that it never ends (comm/doing.h)
};

}  // namespace hadal
