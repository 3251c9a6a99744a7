// The pieces of a MoE layer's FFN: route · dispatch start, wait · experts · combine start, wait.
#include "model/block_pieces.h"

#include "base/error.h"

namespace hadal {
namespace {

class MoePiece : public Piece {
 public:
  MoePiece(const BlockLayers& layers, const BlockPlace& place, Kind kind)
      : Piece(place.stream, kind), norm_(layers.ffn_norm), moe_(layers.moe), place_(place) {}

 protected:
  BlockSaved::Experts& saved_of(Flight& flight) const { return flight.blocks[size_t(place_.block)].moe; }
  void restore_normed(const Pass& pass, BlockSaved::Experts& saved) const {
    if (!saved.normed) saved.normed = normalise(pass, norm_, saved.norm.x, saved.norm, {}).tensor();
    if (!saved.input) saved.input = moe_.experts.gate.recipe.fprop_operand(pass.exec, saved.normed);
  }
  int64_t hidden() const { return norm_.weight->box.size[0]; }

  const Norm& norm_;
  const Moe& moe_;
  BlockPlace place_;
};

class RoutePiece : public MoePiece {
 public:
  RoutePiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece(layers, place, Kind::compute) {}

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
  DispatchStartPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece(layers, place, Kind::traffic) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    saved.sent = moe_.dispatch(pass, saved.input, saved.routing);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {}
  PieceBytes bytes(const PieceSizes& s) const override {  // what travelled is kept, and is never sent again
    const int64_t k = moe_.rule.top_k;
    return {s.bytes(k * hidden()) + s.wide(k), 0, 0};
  }
};

class DispatchWaitPiece : public MoePiece {
 public:
  DispatchWaitPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece(layers, place, Kind::traffic) {}
  void forward(const Pass& pass, Flight& flight) const override {}
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    const bool add = bool(saved.d_normed);  // the shared expert's
    const Tensor& dy = stream_of(flight).h;
    if (!add) saved.d_normed = Tensor::empty(pass.exec, dy.dtype(), {dy.rows(), dy.cols()});
    moe_.dispatch_backward(pass, saved.d_normed, saved.d_sent, saved.routing,
                           add ? ops::Write::add : ops::Write::overwrite);
    saved.d_sent = {};
  }
};

class ExpertsPiece : public MoePiece {
 public:
  ExpertsPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece(layers, place, Kind::compute) {}

  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (moe_.has_shared()) {
      PartClock::Scope scope(pass.clock, Part::shared_experts);
      moe_.shared.forward(pass.exec, stream_of(flight).h, saved.input, ops::Write::add, saved.shared);
    }
    {
      PartClock::Scope scope(pass.clock, Part::experts);
      saved.outputs = moe_.experts.forward(pass.exec, saved.sent, saved.experts);
    }
    if (!pass.keep) {
      Routing routing = std::move(saved.routing);  // combine reads it
      Tensor outputs = std::move(saved.outputs);
      saved = {};
      saved.routing = std::move(routing), saved.outputs = std::move(outputs);
      return;
    }
    if (pass.recompute != Recompute::none) saved.normed.reset(), saved.input.reset();
    if (pass.recompute == Recompute::all) saved.experts.gate_up.reset(), saved.shared.gate_up.reset();
  }

  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    const Tensor& dy = stream_of(flight).h;
    restore_normed(pass, saved);
    {
      PartClock::Scope scope(pass.clock, Part::experts);
      moe_.experts.restore(pass.exec, saved.sent, saved.experts);
      saved.d_sent = moe_.experts.backward_input(pass.exec, saved.sent, saved.dy_sent, saved.experts);
      saved.dy_sent.reset();
    }
    if (!moe_.has_shared()) return;
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
      saved.sent = {};
    }
    if (!moe_.has_shared()) return;
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
    return bytes;
  }
};

class CombineStartPiece : public MoePiece {
 public:
  CombineStartPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece(layers, place, Kind::traffic) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    moe_.combine(pass, stream_of(flight).h, saved.outputs, saved.routing);
    saved.outputs.reset();
  }
  void backward_input(const Pass& pass, Flight& flight) const override {}
};

class CombineWaitPiece : public MoePiece {
 public:
  CombineWaitPiece(const BlockLayers& layers, const BlockPlace& place) : MoePiece(layers, place, Kind::traffic) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (flight.observer) {
      const std::string name = fmt::format("layers.{}.", place_.layer);
      flight.see(name + "moe.experts", saved.routing.routes.experts);
      flight.see(name + "moe.weights", saved.routing.routes.weights);
      flight.see(name + "output", stream_of(flight).h);
    }
    if (!pass.keep) saved = {};
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    saved.dy_sent = moe_.combine_backward(pass, stream_of(flight).h, saved.routing);
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
