// The pieces of a MoE layer's FFN: route · dispatch start, wait · experts · combine start, wait.
#include "model/block_pieces.h"

#include "base/error.h"

namespace hadal {
namespace {

class MoePiece : public Piece {
 public:
  MoePiece(const char* name, const BlockLayers& layers, const BlockPlace& place, Kind kind = Kind::compute)
      : Piece(name, place.stream, kind), norm_(layers.ffn_norm), moe_(layers.moe), place_(place) {}
  // Other ranks' tokens may visit the experts here, and their owners wait.
  bool runs_without_rows(const Pass& pass) const override { return experts_are_spread(pass.partners); }

 protected:
  BlockSaved::Experts& saved_of(Flight& flight) const { return flight.blocks[size_t(place_.block)].moe; }
  void restore_normed(const Pass& pass, BlockSaved::Experts& saved) const {
    if (!saved.normed) saved.normed = normalise(pass, norm_, saved.norm.x, saved.norm, {}).tensor();
    if (!saved.input) saved.input = moe_.experts.gate.recipe.fprop_operand(pass.exec, saved.normed);
  }
  int64_t hidden() const { return norm_.weight->box.size[0]; }
  bool has_rows(Flight& flight) const { return !stream_of(flight).empty(); }
  Tensor no_rows(const Pass& pass) const { return Tensor::empty(pass.exec, pass.dtype, {0, hidden()}); }
  // Of each token the rows that travel to experts on other ranks, at most; and those that come back, sums of groups
  // where these lie whole on ranks.
  int64_t rows_out() const {
    const int64_t ranks = moe_.rule.n_experts / moe_.experts.gate.weight->box.size[0];
    return ranks > 1 ? std::min(moe_.rule.top_k, ranks) : 0;
  }
  int64_t rows_back() const {
    if (rows_out() == 0) return 0;
    const bool whole = moe_.experts.gate.weight->box.size[0] >= moe_.rule.n_experts / moe_.rule.n_groups;
    return whole ? std::min(moe_.rule.top_k, moe_.rule.n_limited_groups) : moe_.rule.top_k;
  }
  // Whether the shared expert's gradient stands in d_normed already; else room is made for the routed experts'.
  bool make_d_normed(const Pass& pass, Flight& flight) const {
    auto& saved = saved_of(flight);
    if (saved.d_normed) return true;
    const Tensor& dy = stream_of(flight).h;
    saved.d_normed = Tensor::empty(pass.exec, dy.dtype(), {dy.rows(), dy.cols()});
    return false;
  }
  DType wire(const Pass& pass, const BlockSaved::Experts& saved) const {
    return moe_.combine_rule(pass, saved.routing).wire;
  }

  const Norm& norm_;
  const Moe& moe_;
  BlockPlace place_;
};

class RoutePiece : public MoePiece {
 public:
  RoutePiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece("route", layers, place) {}
  bool runs_without_rows(const Pass& pass) const override { return false; }

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    Tensor& h = stream_of(flight).h;
    saved.normed = normalise(pass, norm_, h, saved.norm, {}).tensor();
    give_replayed_routes(pass, flight, saved.routing.routes);
    moe_.route(pass, flight.rows(stream(), place_.block), saved.normed, saved.routing);
    flight.routed[size_t(place_.moe_index)] = {place_.layer,
                                               stream(),
                                               saved.routing.plan.offsets,
                                               saved.routing.routes.experts,
                                               saved.routing.balance_loss,
                                               saved.routing.found};
    saved.input = moe_.experts.gate.recipe.fprop_operand(pass.exec, saved.normed);
    h = copy_of(pass, h);  // the residual; shared and routed experts add to it
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
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

class DispatchStartPiece : public MoePiece {
 public:
  DispatchStartPiece(const BlockLayers& layers, const BlockPlace& place)
      : MoePiece("dispatch start", layers, place, Kind::traffic_start) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (!experts_are_spread(pass.partners)) {
      saved.sent.push_back(moe_.dispatch(pass, saved.input, saved.routing));
      return;
    }
    PartClock::Scope scope(pass.clock, Part::dispatch);
    const Activation rows =
        has_rows(flight) ? saved.input : moe_.experts.gate.recipe.fprop_operand(pass.exec, no_rows(pass));
    saved.traffic = std::make_unique<ExpertTraffic>(pass.partners, moe_.rule, moe_.experts.gate.weight->box);
    saved.traffic->dispatch_start(pass.exec, rows, saved.routing.routes);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (!saved.traffic) return;
    PartClock::Scope scope(pass.clock, Part::dispatch);
    if (!has_rows(flight)) {
      saved.traffic->dispatch_backward_wait(pass.exec, {}, ops::Write::add);
      return;
    }
    const bool add = make_d_normed(pass, flight);
    Routing& routing = saved.routing;
    const Tensor dweights =
        saved.traffic->dispatch_backward_wait(pass.exec, saved.d_normed, add ? ops::Write::add : ops::Write::overwrite);
    routing.dweights = dweights.view({saved.d_normed.rows(), moe_.rule.top_k});
  }
  PieceBytes bytes(const PieceSizes& s) const override {  // what travelled is kept, and is never sent again
    const int64_t k = moe_.rule.top_k;
    const int64_t kept = s.bytes(k * hidden()) + s.wide(k);
    return {kept, s.bytes(rows_out() * hidden()), s.bytes(3 * rows_back() * hidden()), kept};
  }
};

class DispatchWaitPiece : public MoePiece {
 public:
  DispatchWaitPiece(const BlockLayers& layers, const BlockPlace& place)
      : MoePiece("dispatch wait", layers, place, Kind::traffic_wait) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (!saved.traffic) return;
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved.sent = saved.traffic->dispatch_wait(pass.exec);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (saved.traffic) {
      PartClock::Scope scope(pass.clock, Part::dispatch);
      saved.traffic->dispatch_backward_start(pass.exec, saved.d_sent, wire(pass, saved));
    } else {
      const bool add = make_d_normed(pass, flight);
      moe_.dispatch_backward(pass, saved.d_normed, saved.d_sent[0], saved.routing,
                             add ? ops::Write::add : ops::Write::overwrite);
    }
    saved.d_sent.clear();
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t d_sent = rows_out() > 0 ? moe_.rule.top_k : 0;
    return {0, s.bytes(2 * rows_out() * hidden()), s.bytes((d_sent + 2 * rows_back()) * hidden())};
  }
};

class ExpertsPiece : public MoePiece {
 public:
  ExpertsPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece("experts", layers, place) {}

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (moe_.has_shared() && has_rows(flight)) {
      PartClock::Scope scope(pass.clock, Part::shared_experts);
      moe_.shared.forward(pass.exec, stream_of(flight).h, saved.input, ops::Write::add, saved.shared);
    }
    {
      PartClock::Scope scope(pass.clock, Part::experts);
      saved.experts.resize(saved.sent.size());
      for (size_t s = 0; s < saved.sent.size(); ++s) {
        saved.outputs.push_back(moe_.experts.forward(pass.exec, saved.sent[s], saved.experts[s]));
        if (!pass.keep || pass.recompute == Recompute::all) saved.experts[s].gate_up.reset();
      }
    }
    if (!pass.keep) {
      BlockSaved::Experts rest;  // what combine reads
      rest.routing = std::move(saved.routing), rest.traffic = std::move(saved.traffic);
      rest.outputs = std::move(saved.outputs);
      saved = std::move(rest);
      return;
    }
    if (pass.recompute != Recompute::none) saved.normed.reset(), saved.input.reset();
    if (pass.recompute == Recompute::all) saved.shared.gate_up.reset();
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (has_rows(flight)) restore_normed(pass, saved);
    {
      PartClock::Scope scope(pass.clock, Part::experts);
      for (size_t s = 0; s < saved.sent.size(); ++s) {
        moe_.experts.restore(pass.exec, saved.sent[s], saved.experts[s]);
        saved.d_sent.push_back(
            moe_.experts.backward_input(pass.exec, saved.sent[s], saved.dy_sent[s], saved.experts[s]));
        saved.dy_sent[s].reset();
      }
      saved.dy_sent.clear();
    }
    if (!moe_.has_shared() || !has_rows(flight)) return;
    const Tensor& dy = stream_of(flight).h;
    PartClock::Scope scope(pass.clock, Part::shared_experts);
    moe_.shared.restore(pass.exec, saved.input, saved.shared);
    saved.d_normed = Tensor::empty(pass.exec, dy.dtype(), {dy.rows(), dy.cols()});
    moe_.shared.backward_input(pass.exec, saved.d_normed, dy, ops::Write::overwrite, saved.shared);
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    {
      PartClock::Scope scope(pass.clock, Part::experts);
      moe_.experts.backward_weight(pass.exec, saved.sent, saved.experts);
      saved.sent.clear();
    }
    if (!moe_.has_shared()) return;
    if (!has_rows(flight)) return moe_.shared.each_parameter([](Parameter& p) { p.contribute_nothing(); });
    PartClock::Scope scope(pass.clock, Part::shared_experts);
    moe_.shared.backward_weight(pass.exec, saved.input, saved.shared);
    saved.input.reset();
  }

  void each_parameter(const ParameterVisitor& visit) const override {
    moe_.experts.each_parameter(visit);
    if (moe_.has_shared()) moe_.shared.each_parameter(visit);
  }

  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t k = moe_.rule.top_k, width = moe_.experts.gate.out_features();
    const int64_t shared = moe_.has_shared() ? moe_.shared.gate.out_features() : 0, inner = k * width + shared;
    const bool all = s.recompute == Recompute::all;
    PieceBytes bytes;
    bytes.kept = all ? 0 : s.bytes(2 * inner);
    bytes.forward = s.bytes(hidden() + 2 * inner + inner + k * hidden());
    bytes.backward = (all ? s.bytes(2 * inner) : 0) + s.bytes(2 * hidden() + 2 * k * hidden() + inner) + s.wide(k);
    bytes.waiting = s.bytes(3 * inner + k * hidden() + (shared > 0 ? hidden() : 0));
    return bytes;
  }
};

class CombineStartPiece : public MoePiece {
 public:
  CombineStartPiece(const BlockLayers& layers, const BlockPlace& place)
      : MoePiece("combine start", layers, place, Kind::traffic_start) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (saved.traffic) {
      PartClock::Scope scope(pass.clock, Part::dispatch);
      saved.traffic->combine_start(pass.exec, saved.outputs, wire(pass, saved));
    } else {
      moe_.combine(pass, stream_of(flight).h, saved.outputs[0], saved.routing);
    }
    saved.outputs.clear();
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (!saved.traffic) return;
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved.dy_sent = saved.traffic->combine_backward_wait(pass.exec);
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t outputs = rows_out() > 0 ? moe_.rule.top_k : 0;
    return {0, s.bytes((outputs + 2 * rows_back()) * hidden()), s.bytes((outputs + 2 * rows_out()) * hidden())};
  }
};

class CombineWaitPiece : public MoePiece {
 public:
  CombineWaitPiece(const BlockLayers& layers, const BlockPlace& place)
      : MoePiece("combine wait", layers, place, Kind::traffic_wait) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (saved.traffic) {
      PartClock::Scope scope(pass.clock, Part::dispatch);
      saved.traffic->combine_wait(pass.exec, stream_of(flight).h);
    }
    if (flight.observer && has_rows(flight)) {
      const std::string name = fmt::format("layers.{}.", place_.layer);
      flight.see(name + "moe.experts", saved.routing.routes.experts);
      flight.see(name + "moe.weights", saved.routing.routes.weights);
      flight.see(name + "output", stream_of(flight).h);
    }
    if (!pass.keep) saved = {};
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    const Tensor& dy = stream_of(flight).h;
    if (!saved.traffic) {
      saved.dy_sent.push_back(moe_.combine_backward(pass, dy, saved.routing));
      return;
    }
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved.traffic->combine_backward_start(
        pass.exec, moe_.experts.down.recipe.dgrad_operand(pass.exec, has_rows(flight) ? dy : no_rows(pass)));
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    return {0, s.bytes(3 * rows_back() * hidden()), s.bytes(rows_out() * hidden())};
  }
};

}  // namespace

void append_moe_pieces(const BlockLayers& layers, const BlockPlace& place,
                       std::vector<std::unique_ptr<Piece>>& pieces) {
  pieces.push_back(std::make_unique<RoutePiece>(layers, place));
  pieces.push_back(std::make_unique<DispatchStartPiece>(layers, place));
  pieces.push_back(std::make_unique<DispatchWaitPiece>(layers, place));
  pieces.push_back(std::make_unique<ExpertsPiece>(layers, place));
  pieces.push_back(std::make_unique<CombineStartPiece>(layers, place));
  pieces.push_back(std::make_unique<CombineWaitPiece>(layers, place));
}

}  // namespace hadal
