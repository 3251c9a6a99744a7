// One training step of a layout on virtual clocks: every piece costs what a table says, every message what its link
// says. What ran when on each rank comes back, the same in every run.
#pragma once
#include <algorithm>
#include <cstring>
#include <ctime>
#include <map>

#include "comm/rank_threads.h"
#include "comm/transport_over.h"
#include "comm/virtual_clock.h"
#include "model/timeline.h"
#include "nn/product_watch.h"
#include "ops/attention.h"
#include "train/rank_place.h"
#include "train/step_trace.h"

namespace hadal::testing {

// Of layers that are all alike, as small as they can be: what they cost is said, not measured.
inline ModelConfig even_model(int64_t layers) {
  ModelConfig m;
  m.vocab_size = 16, m.hidden_size = 8, m.n_layers = layers, m.n_heads = 1, m.q_lora_rank = 4, m.kv_lora_rank = 4;
  m.qk_nope_head_dim = m.qk_rope_head_dim = m.v_head_dim = 4, m.n_dense_layers = 0, m.dense_ffn_size = 8;
  m.n_routed_experts = 4, m.n_experts_per_token = 2, m.n_shared_experts = 0, m.expert_ffn_size = 4, m.n_mtp = 0;
  m.n_groups = m.n_limited_groups = 1, m.init_std = 0.2;
  return m;
}

struct ClockedCase {
  ModelConfig model;
  ParallelConfig parallel;
  int64_t micro_batches = 8;  // of each data rank
  int64_t rows = 4;           // of each
  int64_t sequences = 1;      // that these rows are
  std::function<double(const PieceEvent&)> cost = [](const PieceEvent&) { return 0.0; };
  double each_product = 0;  // seconds of a multiplication and addition of linears and attention, where it comes
  Links links = [](int, int) { return LinkSpeed{}; };
  bool overlap = true;       // F&B pairs run piece by piece; else one after the other
  bool sends_block = false;  // who sends computes nothing until it has left
};

struct ClockedRank {
  std::vector<PieceEvent> events;
  double end = 0;
  RankWaits waits = {};
  double products = 0, experts_products = 0;  // seconds of all products; of those of MoE layers' FFNs
  int64_t sent_bytes = 0;
};

// Seconds of the traffic pieces between (kind "dispatch", "combine"), and how much of them was waited for.
inline double waited(const std::vector<PieceEvent>& events, bool traffic = true) {
  double seconds = 0;
  for (const PieceEvent& e : events)
    if (e.traffic == traffic && std::strcmp(e.piece, "receive") != 0) seconds += e.end - e.begin;
  return seconds;
}

inline MicroBatch plain_batch(int64_t rows, int64_t vocabulary, int64_t number, int64_t sequences = 1) {
  MicroBatch batch;
  const int64_t each = rows / sequences;
  for (int64_t i = 0; i < rows; ++i) {
    batch.tokens.push_back(int32_t((number * 7 + i * 3) % vocabulary));
    batch.targets.push_back(int32_t((number * 5 + i) % vocabulary));
    batch.positions.push_back(int32_t(i % each));
  }
  for (int64_t s = 0; s < sequences; ++s) {
    batch.segments.push_back({s * each, each, s * each, each});
    batch.sequences.push_back({s * each, each});
  }
  return batch;
}

// Multiplications (each with an addition) that attention takes: scores and values, backward the scores again.
inline double products_of(const ops::AttentionInputs& in, bool forward) {
  double pairs = 0;
  for (const ops::Segment& s : *in.segments)
    pairs += double(s.n_q) * double(s.n_k - s.n_q) + double(s.n_q) * double(s.n_q + 1) / 2;
  const double keys = double(in.d_nope + in.d_rope), values = double(in.d_v);
  return pairs * double(in.n_heads) * (forward ? keys + values : 3 * keys + 2 * values);
}

// Moves a clock on by what products cost, where they come: also while rows travel.
class ProductCosts : public ProductWatch {
 public:
  ProductCosts(VirtualClock& clock, double each) : clock_(clock), each_(each) {}
  void product(const Exec&, const ProductSeen& seen) override {
    const int64_t rows = seen.x ? seen.x.rows() : seen.dy.rows();
    const std::vector<int64_t>& size = seen.weight->box.size;
    const size_t n = size.size();
    const double count = double(rows_in_use(seen.offsets, rows)) * double(size[n - 1] * size[n - 2]);
    add(count, seen.weight->spec.name.find(".moe.") != std::string::npos);
  }
  void attention(const Exec&, const ops::AttentionInputs& in, bool forward) override {
    add(products_of(in, forward), false);
  }
  double seconds() const { return seconds_; }
  double experts_seconds() const { return experts_; }

 private:
  void add(double products, bool experts) {
    clock_.advance(products * each_);
    seconds_ += products * each_;
    experts_ += experts ? products * each_ : 0;
  }
  VirtualClock& clock_;
  double each_, seconds_ = 0, experts_ = 0;
};

// Counts what a rank sends, and may make it wait until it has left.
class CountedSends : public TransportOver {
 public:
  CountedSends(std::shared_ptr<Transport> inner, VirtualClock& clock, bool block)
      : TransportOver(std::move(inner)), clock_(clock), block_(block) {}
  void send(int to, Message message) override {
    bytes += message.bytes;
    TransportOver::send(to, std::move(message));
    if (block_) clock_.wait_until(clock_.leave(0, {}));
  }
  int64_t bytes = 0;

 private:
  VirtualClock& clock_;
  bool block_;
};

// CPU seconds of this thread.
inline double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// What F, B and W of a piece cost, measured once: means over the layers of a model in micro-batches of so many rows, on
// one rank with one thread. Embedding, final norm and head cost nothing, so that all stages are alike.
using PieceCosts = std::map<std::pair<std::string, char>, double>;
inline PieceCosts measured_costs(const ModelConfig& config, int64_t micro_batches, int64_t rows) {
  OwnedExec owned(1);
  ModelOptions options;
  options.training = true;
  Transformer model(config, options, owned.exec);
  model.initialize(owned.exec, 1);
  std::vector<MicroBatch> batches;
  for (int64_t m = 0; m < micro_batches; ++m) batches.push_back(plain_batch(rows, config.vocab_size, m));
  Timeline timeline;
  timeline.now = thread_seconds;
  Wants wants;
  wants.timeline = &timeline;
  LossWeights weights;
  weights.main = 1;
  weights.mtp.assign(size_t(config.n_mtp), 0.1);
  Actions actions;  // B and W apart
  for (int64_t m = 0; m < micro_batches; ++m)
    for (const ActionKind kind : {ActionKind::forward, ActionKind::backward_input, ActionKind::backward_weight})
      actions.push_back({.kind = kind, .micro_batch = m});
  model.begin_step(actions);
  model.forward_backward(owned.exec, batches, weights, wants, &actions);
  PieceCosts costs;
  for (const PieceEvent& e : timeline.events) {
    const std::string piece = e.piece;
    if (e.traffic || piece == "embedding" || piece == "final norm" || piece == "head") continue;
    costs[{piece, e.part}] += (e.end - e.begin) / double(micro_batches * config.n_layers);
  }
  return costs;
}

inline double cost_in(const PieceCosts& costs, const PieceEvent& event) {
  const auto found = costs.find({event.piece, event.part});
  return found == costs.end() ? 0 : found->second;
}

// Of a layer: all its pieces' F, B or W.
inline double cost_of_layer(const PieceCosts& costs, char part) {
  double sum = 0;
  for (const auto& [piece, seconds] : costs) sum += piece.second == part ? seconds : 0;
  return sum;
}

inline std::vector<ClockedRank> clocked_step(const ClockedCase& c) {
  std::vector<ClockedRank> ranks(static_cast<size_t>(c.parallel.ranks()));
  std::vector<MicroBatch> global;
  for (int64_t m = 0; m < c.micro_batches * c.parallel.dp; ++m)
    global.push_back(plain_batch(c.rows, c.model.vocab_size, m, c.sequences));
  run_rank_threads(int(ranks.size()), [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    VirtualClock clock;
    const auto counted = std::make_shared<CountedSends>(on_clock(transport, clock, c.links), clock, c.sends_block);
    RankPlace place(c.model, c.parallel, counted);
    ModelOptions options;
    options.training = true;
    Transformer model(c.model, options, owned.exec, place.share());
    model.initialize(owned.exec, 1);
    RankPlace::Work work = place.training_work(global);
    if (!c.overlap)
      for (Action& action : work.actions) action.overlaps_next = false;
    Timeline timeline;
    timeline.now = [&] { return clock.now(); };
    timeline.computed = [&](const PieceEvent& event) { clock.advance(c.cost(event)); };
    LossWeights weights;
    weights.main = 1;
    weights.mtp.assign(size_t(c.model.n_mtp), 0.1);
    Wants wants;
    wants.timeline = &timeline;
    ProductCosts costs(clock, c.each_product);
    const Exec exec = with_watch(owned.exec, &costs);
    place.travels().begin(timeline.now);
    model.begin_step(work.actions);
    model.forward_backward(exec, work.batches, weights, wants, &work.actions);
    RankWaits waits = waits_of(timeline.events);
    add_travels(place.travels(), waits);
    ranks[size_t(place.rank())] = {std::move(timeline.events), clock.now(),   waits, costs.seconds(),
                                   costs.experts_seconds(),    counted->bytes};
  });
  return ranks;
}

inline double makespan(const std::vector<ClockedRank>& ranks) {
  double end = 0;
  for (const ClockedRank& rank : ranks) end = std::max(end, rank.end);
  return end;
}

}  // namespace hadal::testing
