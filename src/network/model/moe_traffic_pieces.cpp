// The pieces of a MoE layer that move rows to experts and back: dispatch and combine, each as start, pass on and wait.
#include <fmt/format.h>

#include "model/moe_piece.h"

namespace hadal {
namespace {

class TrafficPiece : public MoePiece {
 protected:
  using MoePiece::MoePiece;
  Tensor no_rows(const Pass& pass) const { return Tensor::empty(pass.exec, pass.dtype, {0, hidden()}); }
  // Whether the shared expert's gradient stands in d_normed already; else room is made for the routed experts'.
  bool make_d_normed(const Pass& pass, Flight& flight) const {
    auto& saved = saved_of(flight);
    if (saved.d_normed) return true;
    const Tensor& dy = stream_of(flight).h;
    saved.d_normed = Tensor::empty(pass.exec, dy.dtype(), {dy.rows(), dy.cols()});
    return false;
  }
};

// Between a start and its wait, where rows take two hops; else there is nothing to do.
class PassOnPiece : public TrafficPiece {
 public:
  PassOnPiece(const char* name, const BlockLayers& layers, const BlockPlace& place)
      : TrafficPiece(name, layers, place, Kind::traffic_pass_on) {}
  bool runs(const Pass& pass, bool has_rows) const override { return experts_take_two_hops(pass.partners); }
};

class DispatchStartPiece : public TrafficPiece {
 public:
  DispatchStartPiece(const BlockLayers& layers, const BlockPlace& place)
      : TrafficPiece("dispatch start", layers, place, Kind::traffic_start) {}
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
    const int64_t k = moe_.rule.top_k, rows = n_ranks() > 1 ? numbers_out() : k * hidden();
    const int64_t kept = moe_.experts.gate.recipe.x_bytes(s.rows * rows / hidden(), hidden(), s.dtype) + s.wide(k);
    return {kept, s.bytes(numbers_out()), s.bytes(3 * numbers_back()), kept};
  }
};

class DispatchPassOnPiece : public PassOnPiece {
 public:
  DispatchPassOnPiece(const BlockLayers& layers, const BlockPlace& place)
      : PassOnPiece("dispatch pass on", layers, place) {}
  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved_of(flight).traffic->dispatch_pass_on(pass.exec);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved_of(flight).traffic->dispatch_backward_pass_on(pass.exec);
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    return {0, s.bytes(2 * numbers_out()), s.bytes(3 * numbers_back())};
  }
};

class DispatchWaitPiece : public TrafficPiece {
 public:
  DispatchWaitPiece(const BlockLayers& layers, const BlockPlace& place)
      : TrafficPiece("dispatch wait", layers, place, Kind::traffic_wait) {}
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
      saved.traffic->dispatch_backward_start(pass.exec);
    } else {
      const bool add = make_d_normed(pass, flight);
      moe_.dispatch_backward(pass, saved.d_normed, saved.d_sent, saved.routing,
                             add ? ops::Write::add : ops::Write::overwrite);
    }
    saved.d_sent = {};
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    return {0, s.bytes(2 * numbers_out()), s.bytes(2 * numbers_back())};
  }
};

class CombineStartPiece : public TrafficPiece {
 public:
  CombineStartPiece(const BlockLayers& layers, const BlockPlace& place)
      : TrafficPiece("combine start", layers, place, Kind::traffic_start) {}
  void forward(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (saved.traffic) {
      PartClock::Scope scope(pass.clock, Part::dispatch);
      saved.traffic->combine_start(pass.exec);
    } else {
      moe_.combine(pass, stream_of(flight).h, saved.outputs, saved.routing);
    }
    saved.outputs.reset();
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    auto& saved = saved_of(flight);
    if (!saved.traffic) return;
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved.dy_sent = saved.traffic->combine_backward_wait(pass.exec);
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    return {0, s.bytes(2 * numbers_back()), s.bytes(2 * numbers_out())};
  }
};

class CombinePassOnPiece : public PassOnPiece {
 public:
  CombinePassOnPiece(const BlockLayers& layers, const BlockPlace& place)
      : PassOnPiece("combine pass on", layers, place) {}
  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved_of(flight).traffic->combine_pass_on(pass.exec);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::dispatch);
    saved_of(flight).traffic->combine_backward_pass_on(pass.exec);
  }
  PieceBytes bytes(const PieceSizes& s) const override {
    return {0, s.bytes(3 * numbers_back()), s.bytes(2 * numbers_out())};
  }
};

class CombineWaitPiece : public TrafficPiece {
 public:
  CombineWaitPiece(const BlockLayers& layers, const BlockPlace& place)
      : TrafficPiece("combine wait", layers, place, Kind::traffic_wait) {}
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
    return {0, s.bytes(3 * numbers_back()), s.bytes(numbers_out())};
  }
};

}  // namespace

void append_dispatch_pieces(const BlockLayers& layers, const BlockPlace& place,
                            std::vector<std::unique_ptr<Piece>>& pieces) {
  pieces.push_back(std::make_unique<DispatchStartPiece>(layers, place));
  pieces.push_back(std::make_unique<DispatchPassOnPiece>(layers, place));
  pieces.push_back(std::make_unique<DispatchWaitPiece>(layers, place));
}

void append_combine_pieces(const BlockLayers& layers, const BlockPlace& place,
                           std::vector<std::unique_ptr<Piece>>& pieces) {
  pieces.push_back(std::make_unique<CombineStartPiece>(layers, place));
  pieces.push_back(std::make_unique<CombinePassOnPiece>(layers, place));
  pieces.push_back(std::make_unique<CombineWaitPiece>(layers, place));
}

}  // namespace hadal
