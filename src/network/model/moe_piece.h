// MoePiece: what the pieces of a MoE layer's FFN share: their layers and what of the layer a flight keeps. route ·
// dispatch start, pass on, wait · shared experts · experts · combine start, pass on, wait.
#pragma once
#include <algorithm>

#include "model/block_pieces.h"
#include "model/expert_visits.h"

namespace hadal {

class MoePiece : public Piece {
 public:
  MoePiece(const char* name, const BlockLayers& layers, const BlockPlace& place, Kind kind = Kind::compute)
      : Piece(name, place.stream, kind), norm_(layers.ffn_norm), moe_(layers.moe), place_(place) {}
  int64_t layer() const override { return place_.layer; }
  // Other ranks' tokens may visit the experts here, and their owners wait.
  bool runs(const Pass& pass, bool has_rows) const override { return has_rows || experts_are_spread(pass.partners); }

 protected:
  BlockSaved::Experts& saved_of(Flight& flight) const { return flight.blocks[size_t(place_.block)].moe; }
  void restore_normed(const Pass& pass, BlockSaved::Experts& saved) const {  // what recomputation dropped
    if (!saved.normed) saved.normed = normalise(pass, norm_, saved.norm.x, saved.norm);
  }
  int64_t hidden() const { return norm_.weight->box.size[0]; }
  bool has_rows(Flight& flight) const { return !stream_of(flight).empty(); }
  int64_t n_ranks() const { return moe_.rule.n_experts / moe_.experts.gate.weight->box.size[0]; }
  // Of each token the numbers that travel to experts on other ranks, a row for each rank that it visits where routing
  // is even; and those that come back, sums of groups where groups lie whole on ranks.
  int64_t numbers_out() const {
    if (n_ranks() == 1) return 0;
    const double chance = expected_visits(moe_.rule, 0, moe_.rule.n_experts / n_ranks()).tokens;
    return int64_t(double(hidden()) * double(n_ranks()) * chance);
  }
  int64_t numbers_back() const {
    if (n_ranks() == 1) return 0;
    const bool whole = moe_.experts.gate.weight->box.size[0] >= moe_.rule.n_experts / moe_.rule.n_groups;
    return hidden() * (whole ? std::min(moe_.rule.top_k, moe_.rule.n_limited_groups) : moe_.rule.top_k);
  }
  DType wire(const Pass& pass, const BlockSaved::Experts& saved) const {
    return moe_.combine_rule(pass, saved.routing).wire;
  }

  const Norm& norm_;
  const Moe& moe_;
  BlockPlace place_;
};

// Dispatch, and combine, of a layer: start, pass on, wait.
void append_dispatch_pieces(const BlockLayers& layers, const BlockPlace& place,
                            std::vector<std::unique_ptr<Piece>>& pieces);
void append_combine_pieces(const BlockLayers& layers, const BlockPlace& place,
                           std::vector<std::unique_ptr<Piece>>& pieces);

}  // namespace hadal
