// Attention and the dense FFN.
#include "model/block_pieces.h"

#include <fmt/format.h>

#include "ops/pointwise.h"

namespace hadal {

Tensor copy_of(const Pass& pass, const Tensor& x) {
  const Tensor y = Tensor::empty(pass.exec, x.dtype(), {x.rows(), x.cols()});
  ops::copy(pass.exec, y, x);
  return y;
}

Tensor normalise(const Pass& pass, const Norm& norm, const Tensor& x, Norm::Saved& saved) {
  PartClock::Scope scope(pass.clock, Part::norms);
  return norm.forward(pass.exec, x, saved);
}

Tensor through_norm(const Pass& pass, const Norm& norm, const Tensor& dy, const Tensor& d_normed, Norm::Saved& saved) {
  PartClock::Scope scope(pass.clock, Part::norms);
  const Tensor dx = copy_of(pass, dy);
  norm.backward_input(pass.exec, dx, d_normed, saved, true);
  return dx;
}

namespace {

// Attention: Mla or GroupedAttention, and where in a block's record it keeps what its backward needs.
template <class Attention>
class AttentionPiece : public Piece {
 public:
  using SavedIn = typename Attention::Saved BlockSaved::Attention::*;
  AttentionPiece(const Norm& norm, const Attention& attention, SavedIn saved, const BlockPlace& place)
      : Piece("attention", place.stream), norm_(norm), attention_(attention), saved_(saved), place_(place) {}
  int64_t layer() const override { return place_.layer; }

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].attention;
    Tensor& h = stream_of(flight).h;
    saved.normed = normalise(pass, norm_, h, saved.norm);
    PartClock::Scope scope(pass.clock, Part::attention);
    const Tensor y = copy_of(pass, h);
    attention_.forward(pass, flight.rows(stream(), place_.block), y, saved.normed, ops::Write::add, saved.*saved_);
    h = y;
    if (!pass.keep) {
      saved = {};
    } else {
      if (pass.recompute != Recompute::none) saved.normed.reset();
      attention_.keep(pass, saved.*saved_);
    }
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].attention;
    Tensor& h = stream_of(flight).h;
    const Rows rows = flight.rows(stream(), place_.block);
    if (!saved.normed) saved.normed = normalise(pass, norm_, saved.norm.x, saved.norm);
    {
      PartClock::Scope scope(pass.clock, Part::attention);
      attention_.restore(pass, rows, saved.normed, saved.*saved_);
      saved.d_normed = attention_.backward_input(pass, rows, h, saved.dy, saved.*saved_);
    }
    if (!ends_later()) end_backward(pass, flight);
  }

  bool ends_later() const override { return attention_.is_cut(); }
  void end_backward(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].attention;
    Tensor d_normed;
    {
      PartClock::Scope scope(pass.clock, Part::attention);
      d_normed = saved.d_normed.wait();
    }
    Tensor& h = stream_of(flight).h;
    h = through_norm(pass, norm_, h, d_normed, saved.norm);
  }
  bool has_long_weight() const override { return true; }

  bool sends_ahead() const override { return attention_.is_cut(); }
  void send_ahead(const Pass& pass, Flight& flight) const override {  // to the heads of all tensor ranks
    const Stream& s = stream_of(flight);
    flight.blocks[size_t(place_.block)].attention.dy = s.split.start_parts(pass.exec, Extent::queries, s.h);
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].attention;
    {
      PartClock::Scope scope(pass.clock, Part::attention);
      attention_.backward_weight(pass, saved.normed, saved.*saved_);
    }
    PartClock::Scope scope(pass.clock, Part::norms);
    norm_.backward_weight(pass.exec, saved.norm);
    saved = {};
  }

  void each_parameter(const ParameterVisitor& visit) const override {
    visit(*norm_.weight);
    attention_.each_parameter(visit);
  }

  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t hidden = norm_.weight->box.size[0];
    PieceBytes bytes;
    const bool none = s.recompute == Recompute::none;
    bytes.kept = s.bytes(hidden) + s.wide(1) + attention_.kept_bytes(s, s.recompute) + (none ? s.bytes(hidden) : 0);
    bytes.forward = s.bytes(2 * hidden) + attention_.kept_bytes(s, Recompute::none);
    if (s.split()) bytes.forward += s.n_queries() * hidden * dtype_bytes(statistics_dtype(s.dtype));
    bytes.backward = attention_.restored_bytes(s) + (none ? 0 : s.bytes(hidden)) + s.bytes(2 * hidden) +
                     attention_.backward_bytes(s);
    bytes.waiting = s.bytes(3 * hidden) + s.wide(1) + s.n_queries() * hidden * dtype_bytes(s.dtype) +
                    attention_.waiting_bytes(s);  // x, normed, its gradient; dy
    return bytes;
  }

 private:
  const Norm& norm_;
  const Attention& attention_;
  SavedIn saved_;
  BlockPlace place_;
};

// Where ranks share the rows, each holds some of the inner width: gate and up multiply the rows of all queries, and
// down sums over this part alone. Rows are gathered before, and the sums of all ranks go to the rows' owners.
class DensePiece : public Piece {
 public:
  DensePiece(const BlockLayers& layers, const BlockPlace& place)
      : Piece("dense FFN", place.stream), norm_(layers.ffn_norm), mlp_(layers.dense), place_(place) {}
  int64_t layer() const override { return place_.layer; }

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].dense;
    Tensor& h = stream_of(flight).h;
    const Tensor y = copy_of(pass, h);
    if (const RowSplit* split = shared(flight)) {
      ops::add_to(pass.exec, y, forward_shared(pass, *split, h, saved));
    } else {
      saved.normed = normalise(pass, norm_, h, saved.norm);
      PartClock::Scope scope(pass.clock, Part::dense_ffn);
      mlp_.forward(pass.exec, y, saved.normed, ops::Write::add, saved.mlp);
    }
    h = y;
    if (!pass.keep) {
      saved = {};
    } else {
      pass.recompute == Recompute::all ? saved.mlp.gate_up.reset() : mlp_.keep(pass.exec, saved.mlp);
      if (pass.recompute != Recompute::none) saved.normed.reset();
    }
    flight.see(fmt::format("layers.{}.output", place_.layer), h);
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].dense;
    Tensor& h = stream_of(flight).h;
    Tensor d_normed;
    if (const RowSplit* split = shared(flight)) {
      const bool kept = mlp_.restore_kept(pass.exec, saved.mlp);
      if (!saved.normed) restore_shared(pass, *split, saved);
      if (!kept) mlp_.round(pass.exec, saved.mlp);
      d_normed = backward_shared(pass, *split, h, saved);
    } else {
      if (!saved.normed) saved.normed = normalise(pass, norm_, saved.norm.x, saved.norm);
      PartClock::Scope scope(pass.clock, Part::dense_ffn);
      d_normed = Tensor::empty(pass.exec, h.dtype(), {h.rows(), h.cols()});
      mlp_.restore(pass.exec, saved.normed, saved.mlp);
      mlp_.backward_input(pass.exec, d_normed, h, ops::Write::overwrite, saved.mlp);
    }
    h = through_norm(pass, norm_, h, d_normed, saved.norm);
  }

  bool has_long_weight() const override { return true; }
  bool sends_ahead() const override { return is_cut(); }
  void send_ahead(const Pass& pass, Flight& flight) const override {
    flight.blocks[size_t(place_.block)].dense.dy =
        shared(flight)->start_parts(pass.exec, Extent::queries, stream_of(flight).h);
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    auto& saved = flight.blocks[size_t(place_.block)].dense;
    {
      PartClock::Scope scope(pass.clock, Part::dense_ffn);
      mlp_.backward_weight(pass.exec, saved.normed, saved.mlp);
    }
    PartClock::Scope scope(pass.clock, Part::norms);
    norm_.backward_weight(pass.exec, saved.norm);
    saved = {};
  }

  void each_parameter(const ParameterVisitor& visit) const override {
    visit(*norm_.weight);
    mlp_.each_parameter(visit);
  }

  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t hidden = norm_.weight->box.size[0], width = mlp_.gate.out_features();
    const bool none = s.recompute == Recompute::none, all = s.recompute == Recompute::all;
    PieceSizes q = s;  // what gate and up multiply
    if (is_cut()) q.rows = s.n_queries();
    PieceBytes bytes;
    const bool codes = mlp_.kept != Kept::values;
    bytes.kept = s.bytes(hidden) + s.wide(1) +
                 (all ? 0 : 2 * kept_bytes(mlp_.kept, q.rows, width, s.dtype, ScaleRule::exact)) +
                 (none ? q.bytes(hidden) : 0);
    bytes.forward = s.bytes(2 * hidden) + q.bytes(3 * width + (is_cut() ? 2 * hidden : 0));
    bytes.backward = (all || codes ? q.bytes(2 * width) : 0) + (none ? 0 : q.bytes(hidden)) + s.bytes(2 * hidden) +
                     q.bytes(hidden + width + (is_cut() ? hidden : 0));
    bytes.waiting = s.bytes(2 * hidden) + s.wide(1) + q.bytes(2 * hidden + 3 * width);
    return bytes;
  }

 private:
  bool is_cut() const { return tensor_ranks_cut(*mlp_.gate.weight); }
  const RowSplit* shared(const Flight& flight) const {
    return tensor_split(*mlp_.gate.weight, flight.streams[size_t(stream())]);
  }
  void gate_up(const Pass& pass, const Tensor& all, const ops::RowRange& part, BlockSaved::Dense& saved) const {
    mlp_.gate_up_part(pass.exec, all.row_range(part.begin, part.count), part.begin, saved.mlp);
  }
  // Norms own rows and gathers those of all queries; each part of other ranks' goes through gate, up and down once it
  // is here, and its sums leave. Own rows are multiplied by gate and up first, by down last.
  Tensor forward_shared(const Pass& pass, const RowSplit& split, const Tensor& h, BlockSaved::Dense& saved) const {
    const Tensor own = normalise(pass, norm_, h, saved.norm);
    PartClock::Scope scope(pass.clock, Part::dense_ffn);
    PartsUnderWay rows = split.start_parts(pass.exec, Extent::queries, own);
    mlp_.start(pass.exec, h.dtype(), split.n_queries(), saved.mlp);
    const ops::RowRange own_part = split.own_among_queries();
    // Codes that ranks make together are made of all rows first: each rank takes parts in an order of its own.
    const bool together = mlp_.down.shares_fprop_codes();
    Activation inner;
    if (together) {
      rows.each([&](const ops::RowRange& part) { gate_up(pass, rows.all(), part, saved); });
      inner = mlp_.inner(pass.exec, {0, split.n_queries()}, saved.mlp);
    } else if (own_part.count > 0) {
      gate_up(pass, rows.all(), own_part, saved);
    }
    const auto inner_of = [&](const ops::RowRange& part) {
      if (together) return inner.row_range(part.begin, part.count);
      rows.await(part);
      if (part.begin != own_part.begin || own_part.count == 0) gate_up(pass, rows.all(), part, saved);
      return mlp_.inner(pass.exec, part, saved.mlp);
    };
    const Tensor y = Tensor::empty(pass.exec, statistics_dtype(h.dtype()), {split.n_queries(), h.cols()});
    RowsUnderWay sums = split.start_reduce_in_parts(pass.exec, Extent::queries, y, [&](const ops::RowRange& part) {
      mlp_.down.forward(pass.exec, y.row_range(part.begin, part.count), inner_of(part));
    });
    saved.normed = rows.finish();
    return sums.wait();
  }
  // Rows of all queries again, and gate's and up's products where they are not here.
  void restore_shared(const Pass& pass, const RowSplit& split, BlockSaved::Dense& saved) const {
    const Tensor own = normalise(pass, norm_, saved.norm.x, saved.norm);
    PartClock::Scope scope(pass.clock, Part::dense_ffn);
    const bool multiply = !saved.mlp.gate_up;
    if (multiply) mlp_.start(pass.exec, own.dtype(), split.n_queries(), saved.mlp);
    PartsUnderWay rows = split.start_parts(pass.exec, Extent::queries, own);
    rows.each([&](const ops::RowRange& part) {
      if (multiply) gate_up(pass, rows.all(), part, saved);
    });
    saved.normed = rows.finish();
  }
  Tensor backward_shared(const Pass& pass, const RowSplit& split, const Tensor& dy, BlockSaved::Dense& saved) const {
    PartClock::Scope scope(pass.clock, Part::dense_ffn);
    const Exec& exec = pass.exec;
    mlp_.start_backward(exec, saved.mlp);
    PartsUnderWay& rows = saved.dy;
    if (!rows) rows = split.start_parts(exec, Extent::queries, dy);
    rows.each([&](const ops::RowRange& part) {
      mlp_.down_backward_part(exec, rows.all().row_range(part.begin, part.count), part.begin, saved.mlp);
    });
    mlp_.swiglu_backward(exec, rows.finish(), saved.mlp);
    const Tensor dx = Tensor::empty(exec, statistics_dtype(dy.dtype()), {split.n_queries(), dy.cols()});
    const Mlp::Gradients gradients = mlp_.gradients(exec, saved.mlp);
    RowsUnderWay sums = split.start_reduce_in_parts(exec, Extent::queries, dx, [&](const ops::RowRange& part) {
      mlp_.gate_up_backward_part(exec, dx.row_range(part.begin, part.count), gradients, part.begin);
    });
    return in_dtype(exec, sums.wait(), dy.dtype());
  }

  const Norm& norm_;
  const Mlp& mlp_;
  BlockPlace place_;
};

}  // namespace

void append_block_pieces(const BlockLayers& layers, const BlockPlace& place,
                         std::vector<std::unique_ptr<Piece>>& pieces) {
  using Saved = BlockSaved::Attention;
  if (layers.grouped) {
    pieces.push_back(std::make_unique<AttentionPiece<GroupedAttention>>(layers.attention_norm, layers.grouped,
                                                                        &Saved::grouped, place));
  } else {
    pieces.push_back(std::make_unique<AttentionPiece<Mla>>(layers.attention_norm, layers.mla, &Saved::mla, place));
  }
  if (layers.is_moe()) {
    append_moe_pieces(layers, place, pieces);
  } else {
    pieces.push_back(std::make_unique<DensePiece>(layers, place));
  }
}

}  // namespace hadal
