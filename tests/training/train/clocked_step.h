// One training step of a layout on virtual clocks: every piece costs what a table says, every message what its link
// says. What ran when on each rank comes back, the same in every run.
#pragma once
#include <algorithm>
#include <cstring>
#include <ctime>
#include <map>

#include "comm/rank_threads.h"
#include "comm/virtual_clock.h"
#include "model/timeline.h"
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
  std::function<double(const PieceEvent&)> cost;
  Links links = [](int, int) { return LinkSpeed{}; };
  bool overlap = true;  // F&B pairs run piece by piece; else one after the other
};

struct ClockedRank {
  std::vector<PieceEvent> events;
  double end = 0;
  RankWaits waits = {};
};

// Seconds of the traffic pieces between (kind "dispatch", "combine"), and how much of them was waited for.
inline double waited(const std::vector<PieceEvent>& events, bool traffic = true) {
  double seconds = 0;
  for (const PieceEvent& e : events)
    if (e.traffic == traffic && std::strcmp(e.piece, "receive") != 0) seconds += e.end - e.begin;
  return seconds;
}

inline MicroBatch plain_batch(int64_t rows, int64_t vocabulary, int64_t number) {
  MicroBatch batch;
  for (int64_t i = 0; i < rows; ++i) {
    batch.tokens.push_back(int32_t((number * 7 + i * 3) % vocabulary));
    batch.targets.push_back(int32_t((number * 5 + i) % vocabulary));
    batch.positions.push_back(int32_t(i));
  }
  batch.segments.push_back({0, rows, 0, rows});
  batch.sequences.push_back({0, rows});
  return batch;
}

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
    global.push_back(plain_batch(c.rows, c.model.vocab_size, m));
  run_rank_threads(int(ranks.size()), [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    VirtualClock clock;
    RankPlace place(c.model, c.parallel, on_clock(transport, clock, c.links));
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
    place.travels().begin(timeline.now);
    model.begin_step(work.actions);
    model.forward_backward(owned.exec, work.batches, weights, wants, &work.actions);
    RankWaits waits = waits_of(timeline.events);
    add_travels(place.travels(), waits);
    ranks[size_t(place.rank())] = {std::move(timeline.events), clock.now(), waits};
  });
  return ranks;
}

inline double makespan(const std::vector<ClockedRank>& ranks) {
  double end = 0;
  for (const ClockedRank& rank : ranks) end = std::max(end, rank.end);
  return end;
}

}  // namespace hadal::testing
