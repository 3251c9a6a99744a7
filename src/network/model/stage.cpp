#include "model/stage.h"

#include <algorithm>

#include "model/block_pieces.h"
#include "model/stream_pieces.h"
#include "model/timeline.h"
#include "nn/product_watch.h"

namespace hadal {
namespace {

// What an MTP depth runs outside its head counts as MTP in the breakdown of a step.
class StreamScope {
 public:
  StreamScope(const Pass& pass, const Piece& piece) : clock_(pass.clock), on_(piece.stream() > 0) {
    if (on_) clock_.hold(true);
  }
  ~StreamScope() {
    if (on_) clock_.hold(false);
  }

 private:
  PartClock& clock_;
  bool on_;
};

bool has_weights(const Piece& piece) { return piece.kind() == Piece::Kind::compute; }

bool runs(const Piece& piece, const Pass& pass, const Flight& flight) {
  const size_t stream = size_t(piece.stream());
  if (pass.generates >= 0 && piece.stream() != pass.generates) return false;
  if (stream >= flight.streams.size()) return false;
  return piece.runs(pass, !flight.streams[stream].empty());
}

// Enters a piece in the timeline, where there is one.
class EventScope {
 public:
  EventScope(const Pass& pass, const PieceStep& step, int64_t stage, int64_t micro_batch)
      : timeline_(pass.timeline), again_(step.part == PiecePart::backward_end) {
    if (!timeline_) return;
    constexpr char kParts[] = {'F', 'B', 'W', 'B'};
    event_ = {.piece = step.piece->name(),
              .part = kParts[int(step.part)],
              .stage = stage,
              .micro_batch = micro_batch,
              .traffic = step.is_traffic(),
              .starts = step.starts_traffic(),
              .ends = step.ends_traffic(),
              .begin = timeline_->now()};
  }
  ~EventScope() {
    if (!timeline_) return;
    if (!event_.traffic && !again_ && timeline_->computed) timeline_->computed(event_);
    event_.end = timeline_->now();
    timeline_->events.push_back(event_);
  }

 private:
  Timeline* timeline_;
  bool again_;  // what B costs has been counted
  PieceEvent event_;
};

// Who looks on at products hears whose they are.
class WatchScope {
 public:
  WatchScope(const Pass& pass, const PieceStep& step, int64_t micro_batch) : watch_(pass.exec.watch) {
    if (watch_) watch_->enter(step.piece->layer(), micro_batch, step.part == PiecePart::forward);
  }
  ~WatchScope() {
    if (watch_) watch_->leave();
  }

 private:
  ProductWatch* watch_;
};

// The first F of a step finds some values still under way: they come while the pieces before compute.
void await_values(const Piece& piece, const Pass& pass, int64_t stage, int64_t micro_batch) {
  const double begin = pass.timeline ? pass.timeline->now() : 0;
  bool came = false;
  piece.each_parameter(
      [&](Parameter& parameter) { came |= parameter.await_value && parameter.await_value(pass.exec); });
  if (!came || !pass.timeline) return;
  pass.timeline->events.push_back({.piece = "values",
                                   .part = 'F',
                                   .stage = stage,
                                   .micro_batch = micro_batch,
                                   .traffic = true,
                                   .begin = begin,
                                   .end = pass.timeline->now()});
}

}  // namespace

// In the order of F: embedding, blocks, final norm, head; then for each MTP depth the join with the state before it,
// one block, its own final norm, and the shared head.
Stage::Stage(const ModelConfig& config, const StagePart& part,
             const std::function<Parameter*(const std::string&)>& find, const Recipe& recipe, int64_t loss_chunk_tokens,
             int64_t number)
    : number_(number), layers_(wire_layers(config, part, find, recipe)) {
  layers_.head.chunk_tokens = loss_chunk_tokens;
  const auto place = [&](int64_t stream, int64_t block, int64_t layer) {
    return BlockPlace{stream, block, layer, config.is_moe_layer(layer) ? layer - config.n_dense_layers : -1};
  };
  if (part.embedding) pieces_.push_back(embedding_piece(layers_));
  const int64_t n_blocks = int64_t(layers_.blocks.size());
  for (int64_t b = 0; b < n_blocks; ++b)
    append_block_pieces(layers_.blocks[size_t(b)], place(0, b, part.first_layer + b), pieces_);
  const int64_t n_mtp = int64_t(layers_.mtp.size());
  for (int64_t stream = 0; part.head && stream <= n_mtp; ++stream) {
    if (stream > 0) {
      const int64_t k = stream - 1;
      pieces_.push_back(join_piece(layers_, stream));
      append_block_pieces(layers_.mtp[size_t(k)].block, place(stream, n_blocks + k, config.n_layers + k), pieces_);
    }
    pieces_.push_back(final_norm_piece(layers_, stream));
    pieces_.push_back(head_piece(layers_, stream));
    weight_order_.push_back(pieces_.back().get());
  }
  for (size_t i = pieces_.size(); i-- > 0;)
    if (has_weights(*pieces_[i]) &&
        std::find(weight_order_.begin(), weight_order_.end(), pieces_[i].get()) == weight_order_.end())
      weight_order_.push_back(pieces_[i].get());
  list_steps();
  hidden_ = config.hidden_size;
  sizes_ = {n_mtp, n_blocks + n_mtp, 0, config.n_routed_experts};
  for (int64_t layer = 0; layer < config.n_layers + config.n_mtp; ++layer) sizes_.n_moe += config.is_moe_layer(layer);
}

// W's that are put off run while sums of a B travel, and behind what is sent ahead of one; of these, one that is long
// is left for the sums if there is another.
void Stage::list_steps() {
  for (const auto& piece : pieces_) forward_steps_.push_back({piece.get(), PiecePart::forward});
  std::vector<PieceStep> put_off;
  const auto run_put_off = [&](size_t from) {
    backward_steps_.insert(backward_steps_.end(), put_off.begin() + ptrdiff_t(from), put_off.end());
    put_off.resize(from);
  };
  const auto is_long = [](const PieceStep& step) { return step.piece->has_long_weight(); };
  const auto sends = [](const auto& piece) { return piece->sends_ahead(); };
  for (size_t i = pieces_.size(); i-- > 0;) {
    const Piece& piece = *pieces_[i];
    const Piece* below = i > 0 ? pieces_[i - 1].get() : nullptr;
    if (below && (!below->sends_ahead() || below->stream() != piece.stream())) below = nullptr;
    backward_steps_.push_back({&piece, PiecePart::backward_input, piece.ends_later() ? nullptr : below});
    if (piece.ends_later()) {
      run_put_off(0);
      backward_steps_.push_back({&piece, PiecePart::backward_end, below});
    }
    if (has_weights(piece)) put_off.push_back({&piece, PiecePart::backward_weight});
    const bool one_is_left = below && below->ends_later() && !put_off.empty() && is_long(put_off.front()) &&
                             std::count_if(put_off.begin(), put_off.end(), is_long) > 1;
    if (below || std::none_of(pieces_.begin(), pieces_.begin() + ptrdiff_t(i), sends)) run_put_off(one_is_left ? 1 : 0);
  }
}

void Stage::run(const PieceStep& step, const Pass& pass, Flight& flight) const {
  const Piece& piece = *step.piece;
  if (!runs(piece, pass, flight)) {
    // It has nothing to contribute, and says so: a reduction must not wait for it.
    if (step.part == PiecePart::backward_weight) piece.each_parameter([](Parameter& p) { p.contribute_nothing(); });
    return;
  }
  if (step.part == PiecePart::forward) await_values(piece, pass, number_, flight.micro_batch);
  StreamScope scope(pass, piece);
  EventScope event(pass, step, number_, flight.micro_batch);
  WatchScope watch(pass, step, flight.micro_batch);
  switch (step.part) {
    case PiecePart::forward: return piece.forward(pass, flight);
    case PiecePart::backward_input: piece.backward_input(pass, flight); break;
    case PiecePart::backward_end: piece.end_backward(pass, flight); break;
    case PiecePart::backward_weight: return piece.backward_weight(pass, flight);
  }
  if (step.below) step.below->send_ahead(pass, flight);
}

void Stage::forward(const Pass& pass, Flight& flight) const {
  for (const PieceStep& step : forward_steps_) run(step, pass, flight);
}

void Stage::backward(const Pass& pass, Flight& flight) const {
  for (const PieceStep& step : backward_steps_) run(step, pass, flight);
}

void Stage::backward_input(const Pass& pass, Flight& flight) const {
  for (const PieceStep& step : backward_steps_)
    if (step.part != PiecePart::backward_weight) run(step, pass, flight);
}

void Stage::backward_weight(const Pass& pass, Flight& flight) const {
  for (const Piece* piece : weight_order_) run({piece, PiecePart::backward_weight}, pass, flight);
}

void Stage::count_contributions(int64_t n_flights, std::map<Parameter*, int64_t>& contributions) const {
  for (const auto& piece : pieces_)
    piece->each_parameter([&](Parameter& parameter) { contributions[&parameter] += n_flights; });
}

// The most that is held while B's and W's of a flight run. What W's that are put off need stays until they run, also
// what their layer's traffic brought.
int64_t Stage::backward_bytes(const std::map<const Piece*, PieceBytes>& of, int64_t held) const {
  std::map<const Piece*, int64_t> left;  // of pieces whose B has been, until W
  int64_t most = 0;
  for (size_t i = 0; i < backward_steps_.size(); ++i) {
    const Piece* piece = backward_steps_[i].piece;
    if (backward_steps_[i].part == PiecePart::backward_weight) held -= left.at(piece), left.erase(piece);
    if (backward_steps_[i].part != PiecePart::backward_input) continue;
    most = std::max(most, held + of.at(piece).backward);
    const auto waits = std::find_if(left.begin(), left.end(), [&](const auto& other) {
      return other.first->layer() == piece->layer() && other.first->has_long_weight();
    });
    const size_t next = i + 1 + (piece->ends_later() ? 1 : 0);
    const bool at_once = next < backward_steps_.size() && backward_steps_[next].piece == piece;
    held += (at_once ? 0 : of.at(piece).waiting) - of.at(piece).kept;
    if (has_weights(*piece)) {
      left[piece] = at_once ? of.at(piece).kept : of.at(piece).waiting;
      held += at_once ? of.at(piece).kept : 0;
    } else if (waits != left.end()) {
      waits->second += of.at(piece).waiting;
    } else {
      held -= of.at(piece).waiting;
    }
  }
  return most;
}

// F goes up the pieces and adds what each keeps; B goes down and frees it, or leaves what a later W needs.
StageBytes Stage::bytes(const PieceSizes& sizes) const {
  std::vector<PieceBytes> of;
  std::map<const Piece*, PieceBytes> of_piece;
  for (const auto& piece : pieces_) of.push_back(of_piece[piece.get()] = piece->bytes(sizes));
  StageBytes total;
  for (const PieceBytes& one : of) {
    total.forward = std::max(total.forward, total.kept + std::max(one.forward, one.kept));
    total.pair_forward = std::max(total.pair_forward, one.forward - one.kept);
    total.pair_backward = std::max(total.pair_backward, one.backward);
    total.kept += one.kept;
  }
  total.backward = backward_bytes(of_piece, total.kept);
  int64_t below = total.kept, later = 0;
  for (size_t i = of.size(); i-- > 0;) {
    total.backward_input = std::max(total.backward_input, below + of[i].backward + total.waiting);
    below -= of[i].kept;
    total.waiting += of[i].waiting;
    later = std::max(later, of[i].later_weight);
  }
  total.weight = total.waiting + later;
  return total;
}

}  // namespace hadal
