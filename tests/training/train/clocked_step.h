// One training step of a layout on virtual clocks: every piece costs what a table says, every message what its link
// says. What ran when on each rank comes back, the same in every run.
#pragma once
#include <algorithm>
#include <cstring>
#include <mutex>

#include "comm/rank_threads.h"
#include "comm/virtual_clock.h"
#include "model/timeline.h"
#include "train/rank_place.h"

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
    model.begin_step(work.actions);
    model.forward_backward(owned.exec, work.batches, weights, wants, &work.actions);
    ranks[size_t(place.rank())] = {std::move(timeline.events), clock.now()};
  });
  return ranks;
}

inline double makespan(const std::vector<ClockedRank>& ranks) {
  double end = 0;
  for (const ClockedRank& rank : ranks) end = std::max(end, rank.end);
  return end;
}

}  // namespace hadal::testing
