// MicroBatch: the token rows of some sequences, without padding, and what layers must know about them. Rows of a
// sequence are consecutive. In pre-training (no document mask) a sequence is one segment; with document masks each
// document is a segment and positions restart. MTP module k (1-based) runs over positions i whose input token i+k is in
// the same segment, so each segment shrinks by k rows at its end (§1.6, trap 21).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "ops/attention.h"
#include "ops/routing.h"

namespace hadal {

struct MicroBatch {
  std::vector<int32_t> tokens;           // [T] input ids
  std::vector<int32_t> positions;        // [T] rotary positions
  std::vector<int32_t> targets;          // [T] next token, -1 = no target (end of segment, or loss masked)
  std::vector<float> weights;            // [T] of each target's loss; empty: 1 all
  std::vector<int32_t> domains;          // [T] of each target: where it belongs in LossSums::domains; empty: untold
  std::vector<ops::Segment> segments;    // attention bounds; q and k ranges equal
  std::vector<ops::RowRange> sequences;  // for the sequence-wise balance loss
  int64_t n_tokens() const { return int64_t(tokens.size()); }
};

// One text as a micro-batch: every token but the last is an input, its successor the target. At least two tokens.
MicroBatch batch_of_tokens(std::span<const int32_t> tokens);

// The rows of MTP module k: row index into the micro-batch, input token, target, shrunken segments and sequences.
struct MtpRows {
  std::vector<int32_t> rows;     // [Tk] row i of the micro-batch (its hidden state of depth k-1 lives at rows_in)
  std::vector<int32_t> rows_in;  // [Tk] the same position among the rows of depth k-1
  MicroBatch batch;              // tokens = t_{i+k}, targets = t_{i+k+1} or -1, positions = those of i
};
MtpRows mtp_rows(const MicroBatch& batch, int64_t depth);  // depth k >= 1

}  // namespace hadal
