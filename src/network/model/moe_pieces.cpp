// The pieces of a MoE layer's FFN that compute: route, shared experts, experts.
#include "base/error.h"
#include "model/moe_piece.h"

namespace hadal {
namespace {

class RoutePiece : public MoePiece {
 public:
  RoutePiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece("route", layers, place) {}
  bool runs(const Pass& pass, bool has_rows) const override { return has_rows; }

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    Tensor& h = stream_of(flight).h;
    saved.normed = normalise(pass, norm_, h, saved.norm);
    give_replayed_routes(pass, flight, saved.routing.routes);
    moe_.route(pass, flight.rows(stream(), place_.block), saved.normed, saved.routing);
    flight.routed[size_t(place_.moe_index)] = {place_.layer,
                                               stream(),
                                               saved.routing.plan.offsets,
                                               saved.routing.routes.experts,
                                               saved.routing.balance_losses,
                                               saved.routing.routes.found};
    saved.input = moe_.experts.gate.recipe.fprop_operand(pass.exec, saved.normed);
    h = copy_of(pass, h);  // the residual; shared and routed experts add to it
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    restore_normed(pass, saved);  // for W
    Tensor& h = stream_of(flight).h;
    moe_.route_backward(pass, saved.d_normed, saved.routing);
    h = through_norm(pass, norm_, h, saved.d_normed, saved.norm);
    saved.d_normed.reset();
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    {
      PartClock::Scope scope(pass.clock, Part::router);
      moe_.router.backward_weight(pass.exec, saved.routing.dlogits, saved.normed);
    }
    PartClock::Scope scope(pass.clock, Part::norms);
    norm_.backward_weight(pass.exec, saved.norm);
    saved = {};
  }

  void each_parameter(const ParameterVisitor& visit) const override {
    visit(*norm_.weight);
    visit(*moe_.router.weight);
  }

  PieceBytes bytes(const PieceSizes& s) const override {
    PieceBytes bytes;
    const int64_t e = moe_.rule.n_experts, k = moe_.rule.top_k;
    const bool none = s.recompute == Recompute::none;
    bytes.kept = s.bytes(hidden()) + s.wide(1 + 2 * e + k) + 4 * s.rows * 4 * k + (none ? s.bytes(hidden()) : 0);
    bytes.forward = s.bytes(3 * hidden()) + s.wide(e);
    bytes.backward = s.bytes(3 * hidden()) + s.wide(e + k) + (none ? 0 : s.bytes(hidden()));
    bytes.waiting = s.bytes(3 * hidden()) + s.wide(1 + 3 * e + 2 * k) + 4 * s.rows * 4 * k;
    return bytes;
  }

 private:
  void give_replayed_routes(const Pass& pass, const Flight& flight, ops::Routes& routes) const {
    if (!flight.routes || !flight.routes->replay) return;
    const auto& experts = flight.routes->experts[size_t(place_.moe_index)];
    const Stream& s = flight.streams[size_t(stream())];
    const int64_t n = s.split.cut() ? s.split.n_keys() : s.n_rows(), k = moe_.rule.top_k;
    check(int64_t(experts.size()) == n * k, ErrorKind::invalid,
          "replayed routes hold {} experts, but {} tokens visit {} each", experts.size(), n, k);
    if (!s.split.cut()) {
      routes.experts = Tensor::from(pass.exec, experts, {n, k});
      return;
    }
    std::vector<int32_t> own;
    for (const int32_t row : s.split.own())
      own.insert(own.end(), experts.begin() + row * k, experts.begin() + (row + 1) * k);
    routes.experts = Tensor::from(pass.exec, own, {s.n_rows(), k});
  }
};

// Reads what the router and the routed experts read, and adds to the residual before these do.
class SharedExpertsPiece : public MoePiece {
 public:
  SharedExpertsPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece("shared experts", layers, place) {}
  bool runs(const Pass& pass, bool has_rows) const override { return has_rows; }

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    PartClock::Scope scope(pass.clock, Part::shared_experts);
    moe_.shared.forward(pass.exec, stream_of(flight).h, saved.input, ops::Write::add, saved.shared);
    if (!pass.keep || pass.recompute == Recompute::all) saved.shared.gate_up.reset();
    moe_.shared.keep(pass.exec, saved.shared);
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    restore_normed(pass, saved);
    if (!saved.input) saved.input = moe_.experts.gate.recipe.fprop_operand(pass.exec, saved.normed);
    const Tensor& dy = stream_of(flight).h;
    PartClock::Scope scope(pass.clock, Part::shared_experts);
    moe_.shared.restore(pass.exec, saved.input, saved.shared);
    saved.d_normed = Tensor::empty(pass.exec, dy.dtype(), {dy.rows(), dy.cols()});
    moe_.shared.backward_input(pass.exec, saved.d_normed, dy, ops::Write::overwrite, saved.shared);
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    PartClock::Scope scope(pass.clock, Part::shared_experts);
    moe_.shared.backward_weight(pass.exec, saved.input, saved.shared);
    saved.input.reset();
  }

  void each_parameter(const ParameterVisitor& visit) const override { moe_.shared.each_parameter(visit); }

  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t width = moe_.shared.gate.out_features();
    const bool all = s.recompute == Recompute::all;
    PieceBytes bytes;
    const bool again = all || moe_.shared.kept != Kept::values;
    bytes.kept = all ? 0 : 2 * kept_bytes(moe_.shared.kept, s.rows, width, s.dtype, ScaleRule::exact);
    bytes.forward = s.bytes(hidden() + 3 * width);
    bytes.backward = (again ? s.bytes(2 * width) : 0) + s.bytes(2 * hidden() + width);
    bytes.waiting = s.bytes(3 * width + hidden());
    return bytes;
  }
};

class ExpertsPiece : public MoePiece {
 public:
  ExpertsPiece(const BlockLayers& layers, const BlockPlace& place)
      : MoePiece("experts", layers, place), hides_rows_(layers.attention_is_cut() && n_ranks() == 1) {}

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    PartClock::Scope scope(pass.clock, Part::experts);
    saved.experts.resize(saved.sent.size());
    for (size_t s = 0; s < saved.sent.size(); ++s) {
      const Tensor outputs = moe_.experts.forward(pass.exec, saved.sent[s], saved.experts[s]);
      if (!pass.keep || pass.recompute == Recompute::all) saved.experts[s].gate_up.reset();
      moe_.experts.keep(pass.exec, saved.experts[s]);
      if (!pass.keep) saved.sent[s] = {};
      if (saved.traffic) {
        saved.traffic->take_outputs(pass.exec, s, outputs, wire(pass, saved));
      } else {
        saved.outputs = outputs;
      }
    }
    if (!pass.keep) {
      BlockSaved::Experts rest;  // what combine reads
      rest.routing = std::move(saved.routing), rest.traffic = std::move(saved.traffic);
      rest.outputs = std::move(saved.outputs);
      saved = std::move(rest);
    } else if (pass.recompute != Recompute::none) {
      saved.normed.reset(), saved.input.reset();
    }
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    PartClock::Scope scope(pass.clock, Part::experts);
    const auto of_source = [&](size_t s) {
      moe_.experts.restore(pass.exec, saved.sent[s], saved.experts[s]);
      Experts::Gradients d = moe_.experts.backward_input(pass.exec, saved.sent[s], saved.dy_sent[s], saved.experts[s]);
      saved.dy_sent[s].reset();
      if (saved.traffic) {
        saved.traffic->take_gradients(pass.exec, s, d, wire(pass, saved));
      } else {
        saved.d_sent = std::move(d);
      }
    };
    if (weight_is_with_input(pass.plain_backward)) {  // W with it: what it multiplies is there for one source at a time
      moe_.experts.backward_weight(pass.exec, saved.sent, saved.experts, of_source);
      saved.sent.clear();
    } else {
      for (size_t s = 0; s < saved.sent.size(); ++s) of_source(s);
    }
    saved.dy_sent.clear();
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    if (weight_is_with_input(pass.plain_backward)) return;
    auto& saved = saved_of(flight);
    PartClock::Scope scope(pass.clock, Part::experts);
    moe_.experts.backward_weight(pass.exec, saved.sent, saved.experts);
    saved.sent.clear();
  }

  bool has_long_weight() const override { return hides_rows_; }

  void each_parameter(const ParameterVisitor& visit) const override { moe_.experts.each_parameter(visit); }

  // Of evenly spread rows: on several ranks those of one at a time are sorted, and what comes of them is summed.
  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t k = moe_.rule.top_k, inner = k * moe_.experts.gate.out_features();
    const int64_t rows = (n_ranks() > 1 ? 2 * k : k) * hidden() / n_ranks();
    const bool all = s.recompute == Recompute::all;
    PieceBytes bytes;
    const Kept kept = moe_.experts.kept;
    const bool again = all || kept != Kept::values;
    bytes.kept =
        all ? 0 : 2 * kept_bytes(kept, s.rows * k, moe_.experts.gate.out_features(), s.dtype, ScaleRule::exact);
    bytes.forward = s.bytes((all ? 2 * inner / n_ranks() : 2 * inner) + inner / n_ranks() + rows + numbers_back());
    bytes.backward = s.bytes((again ? 3 : 1) * inner / (weight_is_with_input(s.plain_backward) ? n_ranks() : 1)) +
                     s.wide(k) + (n_ranks() > 1 ? s.bytes(rows + numbers_out() + numbers_back()) : s.bytes(2 * rows));
    bytes.waiting = s.bytes(3 * inner + (n_ranks() > 1 ? numbers_out() : k * hidden()));
    return bytes;
  }

 private:
  // What W multiplies is kept from B to W where those are apart, of all sources; else of one source at a time.
  bool weight_is_with_input(bool plain_backward) const { return plain_backward && !hides_rows_; }

  bool hides_rows_;  // of tensor ranks: W runs while these travel (Stage::backward)
};

}  // namespace

void append_moe_pieces(const BlockLayers& layers, const BlockPlace& place,
                       std::vector<std::unique_ptr<Piece>>& pieces) {
  pieces.push_back(std::make_unique<RoutePiece>(layers, place));
  append_dispatch_pieces(layers, place, pieces);
  if (layers.moe.has_shared()) pieces.push_back(std::make_unique<SharedExpertsPiece>(layers, place));
  pieces.push_back(std::make_unique<ExpertsPiece>(layers, place));
  append_combine_pieces(layers, place, pieces);
}

}  // namespace hadal
