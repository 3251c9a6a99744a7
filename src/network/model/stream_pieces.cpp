#include "model/stream_pieces.h"

#include <algorithm>

#include "ops/pointwise.h"

namespace hadal {
namespace {

// Where the vocabulary is cut over tensor ranks, each looks up, and makes logits of, the rows of all queries, for its
// part of the vocabulary.
PieceSizes with_queries(const Parameter& weight, PieceSizes sizes) {
  if (tensor_ranks_cut(weight)) sizes.rows = sizes.n_queries();
  return sizes;
}

Tensor embed(const Pass& pass, const Embedding& embedding, const Stream& stream) {
  const RowSplit* split = tensor_split(*embedding.weight, stream);
  const Tensor rows = embedding.forward(pass.exec, split ? stream.query_tokens : stream.tokens, pass.dtype);
  return start_reduce(pass.exec, split, Extent::queries, rows).wait();
}
// What W reads: the gradient of the embedding of own rows, or of all queries.
RowsUnderWay embedding_gradient(const Pass& pass, const Embedding& embedding, const Stream& stream,
                                const Tensor& d_own) {
  return start_gather(pass.exec, tensor_split(*embedding.weight, stream), Extent::queries, d_own);
}
void contribute_embedding(const Pass& pass, const Embedding& embedding, const Stream& stream, const Tensor& d) {
  embedding.backward_weight(pass.exec, d,
                            tensor_split(*embedding.weight, stream) ? stream.query_tokens : stream.tokens);
}

class EmbeddingPiece : public Piece {
 public:
  explicit EmbeddingPiece(const ModelLayers& layers) : Piece("embedding", 0), embedding_(layers.embedding) {}

  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::embedding);
    Stream& stream = stream_of(flight);
    stream.h = embed(pass, embedding_, stream);
    flight.see("embedding", stream.h);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    if (!stream.d_embedding_rows) send_ahead(pass, flight);
    stream.d_embedding = stream.d_embedding_rows.wait();
    stream.h.reset();
  }
  bool sends_ahead() const override { return tensor_ranks_cut(*embedding_.weight); }
  void send_ahead(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    stream.d_embedding_rows = embedding_gradient(pass, embedding_, stream, stream.h);
  }
  void backward_weight(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::embedding);
    Stream& stream = stream_of(flight);
    contribute_embedding(pass, embedding_, stream, stream.d_embedding);
    stream.d_embedding.reset();
  }
  void each_parameter(const ParameterVisitor& visit) const override { visit(*embedding_.weight); }
  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t rows = with_queries(*embedding_.weight, s).bytes(width());
    return {12 * s.rows, rows, rows, rows};
  }

 private:
  int64_t width() const { return embedding_.weight->box.size[1]; }

  const Embedding& embedding_;
};

// Depth k looks up the token k places ahead, and joins it with the state of the depth before at the same place (§1.6):
//   x_i = W_proj [norm_e(embedding(t_{i+k})) ; norm_h(h^{k-1}_i)]   in this order (trap 20)
class JoinPiece : public Piece {
 public:
  JoinPiece(const ModelLayers& layers, int64_t depth)
      : Piece("join", depth), embedding_(layers.embedding), layers_(layers.mtp[size_t(depth - 1)]) {}

  void forward(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    const Tensor embedding = embed(pass, embedding_, stream);
    const Tensor hidden = Tensor::empty(pass.exec, pass.dtype, {embedding.rows(), embedding.cols()});
    ops::gather_rows(pass.exec, hidden, before(flight).state, stream.rows_in);
    join(pass, embedding, hidden, stream.join);
    stream.h = Tensor::empty(pass.exec, pass.dtype, {embedding.rows(), embedding.cols()});
    layers_.projection.forward(pass.exec, stream.h, stream.join.joined);
    if (!pass.keep) stream.join = {};
    if (pass.recompute != Recompute::none) stream.join.joined.reset();
  }

  // Half of d joined is the state's and is added to what the head of the depth before left there; the other half is the
  // embedding's, whose table is the main model's: it waits for W.
  void backward_input(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    Stream::Join& saved = stream.join;
    const int64_t n = stream.h.rows(), width = stream.h.cols();
    if (!saved.joined) join(pass, saved.embedding_norm.x, saved.hidden_norm.x, saved);
    saved.dy = stream.h;
    stream.h.reset();
    const Tensor d_joined = Tensor::empty(pass.exec, pass.dtype, {n, 2 * width});
    layers_.projection.backward_input(pass.exec, d_joined, saved.dy);
    saved.d_embedding = Tensor::empty(pass.exec, pass.dtype, {n, width});
    const Tensor d_hidden = Tensor::empty(pass.exec, pass.dtype, {n, width});
    layers_.embedding_norm.backward_input(pass.exec, saved.d_embedding, d_joined.col_range(0, width),
                                          saved.embedding_norm, false);
    layers_.hidden_norm.backward_input(pass.exec, d_hidden, d_joined.col_range(width, width), saved.hidden_norm, false);
    ops::add_rows(pass.exec, before(flight).d_state, d_hidden, stream.rows_in);
    saved.d_embedding = embedding_gradient(pass, embedding_, stream, saved.d_embedding).wait();
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    Stream::Join& saved = stream.join;
    layers_.projection.backward_weight(pass.exec, saved.dy, saved.joined);
    layers_.embedding_norm.backward_weight(pass.exec, saved.embedding_norm);
    layers_.hidden_norm.backward_weight(pass.exec, saved.hidden_norm);
    contribute_embedding(pass, embedding_, stream, saved.d_embedding);
    saved = {};
  }

  void each_parameter(const ParameterVisitor& visit) const override {
    visit(*layers_.projection.weight);
    visit(*layers_.embedding_norm.weight);
    visit(*layers_.hidden_norm.weight);
    visit(*embedding_.weight);
  }

  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t width = embedding_.weight->box.size[1];
    const bool none = s.recompute == Recompute::none;
    const int64_t shared = tensor_ranks_cut(*embedding_.weight) ? s.n_queries() * width * dtype_bytes(s.dtype) : 0;
    return {s.bytes((none ? 4 : 2) * width) + s.wide(2) + 16 * s.rows, s.bytes(5 * width) + shared,
            s.bytes(5 * width) + shared + (none ? 0 : s.bytes(2 * width)), s.bytes(8 * width) + s.wide(2) + shared};
  }

 private:
  Stream& before(Flight& flight) const { return flight.streams[size_t(stream() - 1)]; }
  void join(const Pass& pass, const Tensor& embedding, const Tensor& hidden, Stream::Join& saved) const {
    const int64_t width = embedding.cols();
    saved.joined = Tensor::empty(pass.exec, pass.dtype, {embedding.rows(), 2 * width});
    layers_.embedding_norm.forward(pass.exec, saved.joined.col_range(0, width), embedding, saved.embedding_norm);
    layers_.hidden_norm.forward(pass.exec, saved.joined.col_range(width, width), hidden, saved.hidden_norm);
  }

  const Embedding& embedding_;
  const MtpLayers& layers_;
};

// In generation the head, and where nobody asks for the states of all rows the final norm, runs for the rows whose
// logits are wanted; none: an empty tensor.
Tensor wanted_rows(const Pass& pass, const Flight& flight, const Tensor& h) {
  if (!flight.wanted) return {};
  const Tensor rows = Tensor::empty(pass.exec, h.dtype(), {flight.wanted.count(), h.cols()});
  ops::gather_rows(pass.exec, rows, h, flight.wanted);
  return rows;
}

class FinalNormPiece : public Piece {
 public:
  FinalNormPiece(const ModelLayers& layers, int64_t stream)
      : Piece("final norm", stream),
        norm_(stream == 0 ? layers.final_norm : layers.mtp[size_t(stream - 1)].final_norm) {}

  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::norms);
    Stream& s = stream_of(flight);
    if (pass.generates >= 0 && !flight.wants_states) s.h = wanted_rows(pass, flight, s.h);
    if (s.h) s.state = norm_.forward(pass.exec, s.h, s.final_norm);
    s.h.reset();
    if (!pass.keep) s.final_norm = {};
    if (stream() == 0 && s.state) flight.see("final_norm", s.state);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::norms);
    Stream& s = stream_of(flight);
    s.h = Tensor::empty(pass.exec, pass.dtype, {s.d_state.rows(), s.d_state.cols()});
    norm_.backward_input(pass.exec, s.h, s.d_state, s.final_norm, false);
    s.d_state.reset();
  }
  void backward_weight(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::norms);
    norm_.backward_weight(pass.exec, stream_of(flight).final_norm);
  }
  void each_parameter(const ParameterVisitor& visit) const override { visit(*norm_.weight); }
  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t width = norm_.weight->box.size[0];
    const int64_t kept = s.bytes(3 * width) + s.wide(1);  // input, state, gradient
    return {kept, kept, s.bytes(2 * width), kept};
  }

 private:
  const Norm& norm_;
};

// Losses, or logits in generation. The logits of a chunk become their own gradient in place, so d state
// is made in F, and W with it, unless W comes later and makes the logits again. Where the vocabulary is cut over tensor
// ranks, the states of all queries are gathered, each rank finds the losses of all, and d state, to which each part of
// the vocabulary adds, goes to the rows' owners.
class HeadPiece : public Piece {
 public:
  HeadPiece(const ModelLayers& layers, int64_t stream) : Piece("head", stream), head_(layers.head) {}

  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::head_loss);
    Stream& s = stream_of(flight);
    if (pass.generates >= 0) {
      const Tensor state = flight.wants_states ? wanted_rows(pass, flight, s.state) : s.state;
      if (state) flight.logits = head_.logits(pass.exec, state);
      return;
    }
    const RowSplit* split = split_of(s);
    const Tensor state = start_gather(pass.exec, split, Extent::queries, s.state).wait();
    const HeadLoss::Rows rows = rows_of(pass, s, state);
    if (pass.keep) {
      const DType dtype = split ? statistics_dtype(pass.dtype) : pass.dtype;
      const Tensor d_state = Tensor::empty(pass.exec, dtype, {state.rows(), state.cols()});
      losses_and_gradient(pass, rows, scale(flight), d_state);
      s.d_state = in_dtype(pass.exec, start_reduce(pass.exec, split, Extent::queries, d_state).wait(), pass.dtype);
      if (split && pass.later_weights) s.head_state = state;
    } else {
      head_.forward(pass.exec, rows, partners(pass));
    }
    s.losses = split ? own_losses(*split, rows.losses) : rows.losses;
  }
  void backward_input(const Pass& pass, Flight& flight) const override {}  // d_state stands already
  void backward_weight(const Pass& pass, Flight& flight) const override {
    Stream& s = stream_of(flight);
    if (pass.later_weights) {
      PartClock::Scope scope(pass.clock, Part::head_loss);
      const HeadLoss::Rows rows = rows_of(pass, s, s.head_state ? s.head_state : s.state);  // losses of F stay
      if (rows.count() == 0) {
        head_.head.weight->contribute_nothing();
      } else {
        head_.backward_weight(pass.exec, rows, scale(flight), partners(pass));
      }
    }
    s.state.reset();
    s.head_state.reset();
  }
  void each_parameter(const ParameterVisitor& visit) const override { visit(*head_.head.weight); }
  PieceBytes bytes(const PieceSizes& s) const override {
    const bool cut = tensor_ranks_cut(*head_.head.weight);
    const int64_t rows = cut ? s.n_queries() : s.rows, columns = head_.head.out_features();
    const int64_t chunk = HeadLoss::chunk_rows(columns, rows, head_.chunk_tokens);
    const DType wide = statistics_dtype(s.dtype);
    const int64_t logits = chunk * columns * (dtype_bytes(wide) + (wide != s.dtype ? dtype_bytes(s.dtype) : 0));
    const int64_t states = cut ? 2 * rows * head_.head.in_features() * dtype_bytes(s.dtype) : 0;
    const int64_t scored = chunk * head_.head.in_features() * 2 * dtype_bytes(s.dtype);  // their states, and gradients
    return {s.wide(1), logits + states + scored, 0, s.wide(1) + states / 2, logits + scored};
  }

 private:
  const RowSplit* split_of(const Stream& s) const { return tensor_split(*head_.head.weight, s); }
  Group* partners(const Pass& pass) const {
    return tensor_ranks_cut(*head_.head.weight) ? pass.partners.tensor : nullptr;
  }
  HeadLoss::Rows rows_of(const Pass& pass, const Stream& s, const Tensor& state) const {
    const Stream::Scored& scored = split_of(s) ? s.scored_queries : s.scored;
    return {state, scored.targets, Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {state.rows()}),
            scored.weights, scored.rows};
  }
  // No row of it may have a target: all are other ranks', or of a user's words.
  void losses_and_gradient(const Pass& pass, const HeadLoss::Rows& rows, double scale, const Tensor& d_state) const {
    const WeightGradient when = pass.later_weights ? WeightGradient::later : WeightGradient::now;
    if (rows.count() > 0) return head_.forward_backward(pass.exec, rows, scale, d_state, when, partners(pass));
    rows.losses.zero(pass.exec), d_state.zero(pass.exec);
    if (when == WeightGradient::now) head_.head.weight->contribute_nothing();
  }
  static Tensor own_losses(const RowSplit& split, const Tensor& losses) {
    const ops::RowRange own = split.own_among_queries();
    return losses.view({losses.count(), 1}).row_range(own.begin, own.count).view({own.count});
  }
  double scale(const Flight& flight) const {
    return stream() == 0 ? flight.weights.main : flight.weights.mtp[size_t(stream() - 1)];
  }

  const HeadLoss& head_;
};

}  // namespace

std::unique_ptr<Piece> embedding_piece(const ModelLayers& layers) { return std::make_unique<EmbeddingPiece>(layers); }
std::unique_ptr<Piece> join_piece(const ModelLayers& layers, int64_t depth) {
  return std::make_unique<JoinPiece>(layers, depth);
}
std::unique_ptr<Piece> final_norm_piece(const ModelLayers& layers, int64_t stream) {
  return std::make_unique<FinalNormPiece>(layers, stream);
}
std::unique_ptr<Piece> head_piece(const ModelLayers& layers, int64_t stream) {
  return std::make_unique<HeadPiece>(layers, stream);
}

}  // namespace hadal
