// Piece: the smallest part of a model that a schedule moves. Of a layer: attention · dense FFN, or attention · route ·
// dispatch start, pass on, wait · shared experts · experts · combine start, pass on, wait; and embedding, the beginning
// of an MTP depth, final norm, head. Each has F, B and W over a flight:
//   forward          F: reads and replaces the stream's state h, leaves in the flight what its backward needs
//   backward_input   B: finds in h the gradient of its output and leaves there that of its input; touches no
//                    parameter's gradient (but experts', where W would follow at once)
//   backward_weight  W: any time later, once; contributes to each of its parameters once, and empties what was kept
// Recomputation happens inside a piece. Where ranks share a micro-batch (row_split.h), the latents of attention and the
// rows of a dense FFN that it dropped are gathered again: all partners run the same pieces in the same order, and kept
// they would be as large as what it saves. What travelled to experts is kept. A traffic piece moves rows between ranks
// and has no W; on one rank its start does the move and its wait nothing. Between them rows that take two hops are
// passed on: that ends the first hop and starts the second. In B time runs backwards: there the wait starts the move
// and the start ends it.
#pragma once
#include "model/flight.h"
#include "model/piece_sizes.h"

namespace hadal {

struct PieceBytes {
  int64_t kept = 0;          // from F to the end of W, or of Bi where W comes later
  int64_t forward = 0;       // while F runs, what it will keep among it
  int64_t backward = 0;      // while B and W run, on top of what it keeps
  int64_t waiting = 0;       // from Bi to the end of a W that comes later
  int64_t later_weight = 0;  // on top of that while such a W runs
};

class Piece {
 public:
  enum class Kind : uint8_t { compute, traffic_start, traffic_pass_on, traffic_wait };  // in F

  Piece(const char* name, int64_t stream, Kind kind = Kind::compute) : name_(name), stream_(stream), kind_(kind) {}
  virtual ~Piece() = default;
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  virtual void forward(const Pass& pass, Flight& flight) const = 0;
  virtual void backward_input(const Pass& pass, Flight& flight) const = 0;
  virtual void backward_weight(const Pass& pass, Flight& flight) const {}
  // Of pieces that tensor ranks cut. B begins with rows of the gradient of its output that partners have: they are sent
  // when that stands in h, behind the B of the piece above. And it may end with sums that are still under way, which
  // end_backward() then waits for. W's of pieces above run after both, so that what travels is hidden (stage.h).
  virtual bool sends_ahead() const { return false; }
  virtual void send_ahead(const Pass& pass, Flight& flight) const {}
  virtual bool ends_later() const { return false; }
  virtual void end_backward(const Pass& pass, Flight& flight) const {}
  virtual bool has_long_weight() const { return false; }               // W takes about as long as such rows do
  virtual void each_parameter(const ParameterVisitor& visit) const {}  // those that W contributes to, each once
  virtual PieceBytes bytes(const PieceSizes& sizes) const { return {}; }
  virtual int64_t layer() const { return -1; }  // of the model, MTP modules' behind its own; -1: of none
  // Whether it runs where its stream has rows, or has none: then only where partners wait for what it sends.
  virtual bool runs(const Pass& pass, bool has_rows) const { return has_rows; }

  const char* name() const { return name_; }
  Kind kind() const { return kind_; }
  int64_t stream() const { return stream_; }

 protected:
  Stream& stream_of(Flight& flight) const { return flight.streams[size_t(stream_)]; }

 private:
  const char* name_;
  int64_t stream_;
  Kind kind_;
};

enum class PiecePart : uint8_t { forward, backward_input, backward_weight, backward_end };

struct PieceStep {
  const Piece* piece = nullptr;
  PiecePart part = PiecePart::forward;
  const Piece* below = nullptr;  // of the end of B: the piece whose B is next on this stream, where it sends ahead
  bool is_traffic() const { return piece->kind() != Piece::Kind::compute; }
  bool starts_traffic() const {  // in B the wait starts
    return is_traffic() && piece->kind() != (is_forward() ? Piece::Kind::traffic_wait : Piece::Kind::traffic_start);
  }
  bool ends_traffic() const {
    return is_traffic() && piece->kind() != (is_forward() ? Piece::Kind::traffic_start : Piece::Kind::traffic_wait);
  }
  bool passes_on() const { return starts_traffic() && ends_traffic(); }

 private:
  bool is_forward() const { return part == PiecePart::forward; }
};

}  // namespace hadal
