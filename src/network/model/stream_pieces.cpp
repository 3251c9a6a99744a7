#include "model/stream_pieces.h"

#include <algorithm>

#include "ops/pointwise.h"

namespace hadal {
namespace {

class EmbeddingPiece : public Piece {
 public:
  explicit EmbeddingPiece(const ModelLayers& layers) : Piece(0), embedding_(layers.embedding) {}

  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::embedding);
    Stream& stream = stream_of(flight);
    stream.h = embedding_.forward(pass.exec, stream.tokens, pass.dtype);
    flight.see("embedding", stream.h);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    stream.d_embedding = stream.h;
    stream.h.reset();
  }
  void backward_weight(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::embedding);
    Stream& stream = stream_of(flight);
    embedding_.backward_weight(pass.exec, stream.d_embedding, stream.tokens);
    stream.d_embedding.reset();
  }
  void each_parameter(const ParameterVisitor& visit) const override { visit(*embedding_.weight); }
  PieceBytes bytes(const PieceSizes& s) const override { return {12 * s.rows, s.bytes(width()), s.bytes(width())}; }

 private:
  int64_t width() const { return embedding_.weight->box.size[1]; }

  const Embedding& embedding_;
};

// Depth k looks up the token k places ahead, and joins it with the state of the depth before at the same place (§1.6):
//   x_i = W_proj [norm_e(embedding(t_{i+k})) ; norm_h(h^{k-1}_i)]   in this order (trap 20)
class JoinPiece : public Piece {
 public:
  JoinPiece(const ModelLayers& layers, int64_t depth)
      : Piece(depth), embedding_(layers.embedding), layers_(layers.mtp[size_t(depth - 1)]) {}

  void forward(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    const Tensor embedding = embedding_.forward(pass.exec, stream.tokens, pass.dtype);
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
  }

  void backward_weight(const Pass& pass, Flight& flight) const override {
    Stream& stream = stream_of(flight);
    Stream::Join& saved = stream.join;
    layers_.projection.backward_weight(pass.exec, saved.dy, saved.joined);
    layers_.embedding_norm.backward_weight(pass.exec, saved.embedding_norm);
    layers_.hidden_norm.backward_weight(pass.exec, saved.hidden_norm);
    embedding_.backward_weight(pass.exec, saved.d_embedding, stream.tokens);
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
    return {s.bytes((none ? 4 : 2) * width) + s.wide(2) + 16 * s.rows, s.bytes(5 * width),
            s.bytes(5 * width) + (none ? 0 : s.bytes(2 * width))};
  }

 private:
  Stream& before(Flight& flight) const { return flight.streams[size_t(stream() - 1)]; }
  void join(const Pass& pass, const Tensor& embedding, const Tensor& hidden, Stream::Join& saved) const {
    const int64_t width = embedding.cols();
    const Tensor joined = Tensor::empty(pass.exec, pass.dtype, {embedding.rows(), 2 * width});
    layers_.embedding_norm.forward(pass.exec, joined.col_range(0, width), embedding, saved.embedding_norm);
    layers_.hidden_norm.forward(pass.exec, joined.col_range(width, width), hidden, saved.hidden_norm);
    saved.joined = layers_.projection.recipe.fprop_operand(pass.exec, joined);
  }

  const Embedding& embedding_;
  const MtpLayers& layers_;
};

class FinalNormPiece : public Piece {
 public:
  FinalNormPiece(const ModelLayers& layers, int64_t stream)
      : Piece(stream), norm_(stream == 0 ? layers.final_norm : layers.mtp[size_t(stream - 1)].final_norm) {}

  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::norms);
    Stream& s = stream_of(flight);
    const int64_t n = s.h.rows(), wanted = pass.last_rows > 0 ? pass.last_rows : n;
    s.state = norm_.forward(pass.exec, s.h.row_range(n - wanted, wanted), s.final_norm);
    s.h.reset();
    if (!pass.keep) s.final_norm = {};
    if (stream() == 0) flight.see("final_norm", s.state);
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
    return {s.bytes(3 * width) + s.wide(1), s.bytes(2 * width), s.bytes(2 * width)};  // input, state, gradient
  }

 private:
  const Norm& norm_;
};

// Losses, or logits in generation. The logits of a chunk become their own gradient in place, so d state
// is made in F, and W with it, unless W comes later and makes the logits again.
class HeadPiece : public Piece {
 public:
  HeadPiece(const ModelLayers& layers, int64_t stream) : Piece(stream), head_(layers.head) {}

  void forward(const Pass& pass, Flight& flight) const override {
    PartClock::Scope scope(pass.clock, Part::head_loss);
    Stream& s = stream_of(flight);
    if (pass.last_rows > 0) {
      flight.logits = head_.logits(pass.exec, s.state);
      return;
    }
    s.losses = Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {s.n_rows()});
    if (!pass.keep) return head_.forward(pass.exec, rows_of(s));
    s.d_state = Tensor::empty(pass.exec, pass.dtype, {s.state.rows(), s.state.cols()});
    if (s.n_rows() == 0) {  // all of them are other ranks'
      if (!pass.later_weights) head_.head.weight->contribute_nothing();
      return;
    }
    head_.forward_backward(pass.exec, rows_of(s), scale(flight), s.d_state,
                           pass.later_weights ? WeightGradient::later : WeightGradient::now);
  }
  void backward_input(const Pass& pass, Flight& flight) const override {}  // d_state stands already
  void backward_weight(const Pass& pass, Flight& flight) const override {
    Stream& s = stream_of(flight);
    if (pass.later_weights && s.n_rows() == 0) {
      head_.head.weight->contribute_nothing();
    } else if (pass.later_weights) {
      PartClock::Scope scope(pass.clock, Part::head_loss);
      HeadLoss::Rows rows = rows_of(s);
      rows.losses = Tensor::empty(pass.exec, s.losses.dtype(), {s.n_rows()});  // those of F stay what they are
      head_.backward_weight(pass.exec, rows, scale(flight));
    }
    s.state.reset();
  }
  void each_parameter(const ParameterVisitor& visit) const override { visit(*head_.head.weight); }
  PieceBytes bytes(const PieceSizes& s) const override {
    const int64_t vocab = head_.head.out_features(), chunk = HeadLoss::chunk_rows(vocab, s.rows, head_.chunk_tokens);
    const DType wide = statistics_dtype(s.dtype);
    const int64_t logits = chunk * vocab * (dtype_bytes(wide) + (wide != s.dtype ? dtype_bytes(s.dtype) : 0));
    return {s.wide(1), logits, 0};
  }

 private:
  static HeadLoss::Rows rows_of(const Stream& s) { return {s.state, s.targets, s.losses}; }
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
