#include "train/traffic.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "model/expert_visits.h"
#include "model/moe.h"
#include "model/row_split.h"
#include "model/transformer.h"
#include "nn/norm.h"
#include "optim/sharding.h"
#include "train/resources.h"

namespace hadal {
namespace {

// Of a stream (the main model, an MTP depth) of one micro-batch: whose rows are whose, [context * tensor].
struct StreamRows {
  std::vector<int64_t> own;
  std::vector<int64_t> scored;  // of these, those that have a target: all but each document's last
  int64_t sequences = 0;        // that have any
};

std::vector<StreamRows> rows_of(const MicroBatchShape& shape, int64_t n_streams, int64_t context, int64_t tensor) {
  std::vector<ops::RowRange> sequences;
  int64_t n = 0;
  for (const SequenceShape& documents : shape) {
    sequences.push_back({n, 0});
    for (const int64_t length : documents) sequences.back().count += length, n += length;
  }
  const std::vector<int32_t> owner = row_owners(sequences, n, context, tensor);
  const std::vector<int64_t> none(size_t(context * tensor), 0);
  std::vector<StreamRows> streams(size_t(n_streams), {none, none, 0});
  for (int64_t k = 0; k < n_streams; ++k) {
    StreamRows& of = streams[size_t(k)];
    int64_t begin = 0;
    for (const SequenceShape& documents : shape) {
      bool any = false;
      for (const int64_t length : documents) {  // each document is one row shorter at the next depth
        for (int64_t i = 0; i < length - k; ++i) {
          const auto rank = size_t(owner[size_t(begin + i)]);
          ++of.own[rank], of.scored[rank] += i + 1 < length - k ? 1 : 0, any = true;
        }
        begin += length;
      }
      of.sequences += any ? 1 : 0;
    }
  }
  return streams;
}

// What a rank computes of a stream at a stage, summed over the micro-batches of a step.
struct RankWork {
  double rows = 0, scored = 0;                   // its own, and those of them that have a target
  double tensor_counts = 0, context_counts = 0;  // of each sequence's choices of experts, those that it adds up
};
using StreamWork = std::vector<RankWork>;  // by place among the ranks of a stage

struct HeldWork {           // a stage at a pipeline seat
  int64_t flights = 0;      // of each rank, fillers among them
  int64_t micro_batch = 0;  // one of them
  std::vector<StreamWork> streams;
};

class Step {
 public:
  Step(const Config& config, const Placement& placement, const TransferVisitor& visit)
      : config_(config),
        m_(config.model),
        placement_(placement),
        mesh_(placement.mesh()),
        visit_(visit),
        narrow_(double(dtype_bytes(activation_dtype(config.train.precision)))),
        wide_(double(dtype_bytes(statistics_dtype(activation_dtype(config.train.precision))))),
        gathers_(chosen_recompute(config.train) == Recompute::none ? 1 : 2),
        recipe_(recipe_of(config.train.precision, config.fp8)) {
    ModelOptions bare = model_options(config, true);
    bare.bare = true;
    const Transformer model(config.model, bare, Exec());
    for (const Parameter* parameter : model.parameters())
      if (parameter->codes_alone) as_codes_.insert(parameter->spec.name);
  }

  void parameters() const;
  void deal(const std::vector<MicroBatchShape>& micro_batches);
  void activations() const;

 private:
  struct Place {  // of a stage at a pipeline seat
    int64_t stage = 0, seat = 0;
    bool operator<(const Place& o) const { return std::pair(stage, seat) < std::pair(o.stage, o.seat); }
  };
  struct Layers {  // of a stream at a stage
    double attentions = 0, dense = 0, moe = 0, embeddings = 0, heads = 0;
  };

  void add(const HeldWork& held, int64_t data, const std::vector<StreamRows>& streams);
  Layers layers_of(const StagePart& part, int64_t stream) const;
  void pipeline(const Place& place, const HeldWork& held) const;
  void tensor(const Place& place, const StreamWork& work, const Layers& layers) const;
  void context(const Place& place, const StreamWork& work, const Layers& layers) const;
  void experts(const Place& place, const StreamWork& work, double flights) const;
  struct Hop;
  void hop(const Place& place, const Hop& hop) const;
  int64_t rank_of(const Place& place, int64_t place_in_stage) const {
    return place.seat * mesh_.stage_ranks() + place_in_stage;
  }
  bool weights_come_later(int64_t seat) const;

  const Config& config_;
  const ModelConfig& m_;
  const Placement& placement_;
  const Mesh& mesh_;
  const TransferVisitor& visit_;
  double narrow_, wide_, gathers_;
  Recipe recipe_;
  std::set<std::string> as_codes_;  // parameters whose products read codes alone: their values travel as masters
  Pipeline pipeline_;
  std::map<Place, HeldWork> held_;
};

// ZeRO-1: every holder's gradients go to the owners of their elements, new values from there to every holder.
void Step::parameters() const {
  struct Owned {
    std::vector<double> gradients, values;  // bytes, by holder
  };
  std::map<std::vector<int>, Owned> circles;
  for (const ParameterSpec& spec : placement_.specs()) {
    if (!spec.trained) continue;
    for (const Holding& holding : placement_.holdings(spec)) {
      const int n = int(holding.ranks.size());
      if (n == 1) continue;
      Owned& owned = circles[holding.ranks];
      owned.gradients.resize(size_t(n)), owned.values.resize(size_t(n));
      for (int i = 0; i < n; ++i) {
        const auto [begin, end] = owned_elements(holding.box, i, n);
        owned.gradients[size_t(i)] += double(end - begin) * wide_;
        owned.values[size_t(i)] +=
            double(end - begin) * (spec.high_precision || as_codes_.contains(spec.name) ? wide_ : narrow_);
      }
    }
  }
  for (const auto& [ranks, owned] : circles) {
    for (size_t from = 0; from < ranks.size(); ++from) {
      for (size_t to = 0; to < ranks.size(); ++to) {
        if (from == to) continue;
        visit_(TrafficKind::gradients, ranks[from], ranks[to], owned.gradients[to]);
        visit_(TrafficKind::values, ranks[from], ranks[to], owned.values[from]);
      }
    }
  }
}

// Micro-batch j of the batch is the business of data rank j mod dp; what the schedule needs beyond are fillers.
void Step::deal(const std::vector<MicroBatchShape>& micro_batches) {
  const ParallelConfig& p = mesh_.sizes();
  pipeline_ = placement_.pipeline((int64_t(micro_batches.size()) + p.dp - 1) / p.dp);
  std::map<MicroBatchShape, std::vector<StreamRows>> known;
  for (int64_t i = 0; i < pipeline_.n_micro_batches; ++i) {
    for (int64_t stage = 0; stage < pipeline_.n_stages(); ++stage) {
      HeldWork& held = held_[{stage, pipeline_.rank(stage, i)}];
      ++held.flights, held.micro_batch = i;
      const bool last = stage + 1 == pipeline_.n_stages();
      held.streams.resize(last ? size_t(1 + m_.n_mtp) : 1, StreamWork(size_t(mesh_.stage_ranks())));
      for (int64_t data = 0; data < p.dp && data + i * p.dp < int64_t(micro_batches.size()); ++data) {
        const MicroBatchShape& shape = micro_batches[size_t(data + i * p.dp)];
        std::vector<StreamRows>& streams = known[shape];
        if (streams.empty()) streams = rows_of(shape, 1 + m_.n_mtp, p.cp, p.tp);
        for (size_t k = 0; k < held.streams.size(); ++k) {
          const int64_t n_counts = streams[k].sequences * m_.n_routed_experts;
          const auto share = [&](int64_t r, int64_t n) { return double(n_counts * (r + 1) / n - n_counts * r / n); };
          for (int64_t r = 0; r < p.cp * p.tp; ++r) {
            RankWork& work = held.streams[k][size_t(data * p.cp * p.tp + r)];
            work.rows += double(streams[k].own[size_t(r)]), work.scored += double(streams[k].scored[size_t(r)]);
            work.tensor_counts += share(r % p.tp, p.tp), work.context_counts += share(r / p.tp, p.cp);
          }
        }
      }
    }
  }
}

Step::Layers Step::layers_of(const StagePart& part, int64_t stream) const {
  Layers layers;
  const auto block = [&](int64_t layer) {
    ++layers.attentions;
    ++(m_.is_moe_layer(layer) ? layers.moe : layers.dense);
  };
  if (stream == 0) {
    for (int64_t layer = part.first_layer; layer < part.end_layer; ++layer) block(layer);
  } else {
    block(m_.n_layers + stream - 1);
  }
  layers.embeddings = part.embedding && stream == 0 ? 1 : stream > 0 ? 1 : 0;
  layers.heads = part.head ? 1 : 0;
  return layers;
}

void Step::activations() const {
  const ParallelConfig& p = mesh_.sizes();
  for (const auto& [place, held] : held_) {
    pipeline(place, held);
    for (size_t stream = 0; stream < held.streams.size(); ++stream) {
      const StreamWork& work = held.streams[stream];
      const Layers layers = layers_of(placement_.parts()[size_t(place.stage)], int64_t(stream));
      if (p.tp > 1) tensor(place, work, layers);
      if (p.cp > 1) context(place, work, layers);
      if (p.ep > 1 && layers.moe > 0) {
        StreamWork of_layers = work;
        for (RankWork& one : of_layers) one.rows *= layers.moe;
        experts(place, of_layers, double(held.flights) * layers.moe);
      }
    }
  }
}

void Step::pipeline(const Place& place, const HeldWork& held) const {
  if (place.stage + 1 == pipeline_.n_stages()) return;
  const Place next = {place.stage + 1, pipeline_.rank(place.stage + 1, held.micro_batch)};
  if (next.seat == place.seat) return;
  for (int64_t s = 0; s < mesh_.stage_ranks(); ++s) {
    const double bytes = held.streams[0][size_t(s)].rows * double(m_.hidden_size) * narrow_;
    visit_(TrafficKind::pipeline, rank_of(place, s), rank_of(next, s), bytes);
    visit_(TrafficKind::pipeline, rank_of(next, s), rank_of(place, s), bytes);
  }
}

bool Step::weights_come_later(int64_t seat) const {
  const Actions list = make_plan(pipeline_).ranks[size_t(seat)];
  return std::any_of(list.begin(), list.end(), [](const Action& a) { return a.kind == ActionKind::backward_weight; });
}

// Numbers of a row of which attention's keys are made, and those that queries take beside them.
double keys_width(const ModelConfig& m) {
  return double(m.is_latent() ? m.kv_lora_rank + m.qk_rope_head_dim : m.hidden_size);
}
double queries_width(const ModelConfig& m) {
  if (!m.is_latent()) return 0;
  return double(m.q_lora_rank > 0 ? m.q_lora_rank : m.hidden_size);
}

void Step::tensor(const Place& place, const StreamWork& work, const Layers& l) const {
  const ParallelConfig& p = mesh_.sizes();
  const double hidden = double(m_.hidden_size), keys = keys_width(m_), queries = queries_width(m_);
  const double gathered = l.attentions * (gathers_ * queries + hidden) + l.dense * (gathers_ + 1) * hidden +
                          (l.embeddings + l.heads) * hidden;
  const double summed = l.attentions * (hidden + queries) + l.dense * 2 * hidden + l.heads * hidden;
  const double of_logits = l.heads > 0 ? l.heads * 4 * (weights_come_later(place.seat) ? 2 : 1) : 0;
  const double counts = config_.train.balance_alpha != 0 ? l.moe * 8 : 0;
  const auto at = [&](int64_t data, int64_t context, int64_t tensor) {
    return (data * p.cp + context) * p.tp + tensor;
  };
  const auto over_context = [&](int64_t data, int64_t tensor) {
    double rows = 0;
    for (int64_t c = 0; c < p.cp; ++c) rows += work[size_t(at(data, c, tensor))].rows;
    return rows;
  };
  for (int64_t s = 0; s < mesh_.stage_ranks(); ++s) {
    const Seat seat = mesh_.seat(s);
    double scored = 0;  // of the queries
    for (int64_t t = 0; t < p.tp; ++t) scored += work[size_t(at(seat.data, seat.context, t))].scored;
    for (int64_t t = 0; t < p.tp; ++t) {
      if (t == seat.tensor) continue;
      const int64_t other = at(seat.data, seat.context, t);
      const RankWork &own = work[size_t(s)], &peer = work[size_t(other)];
      double bytes = own.rows * gathered * narrow_ + peer.rows * (summed * wide_ + l.embeddings * hidden * narrow_);
      bytes += l.attentions * keys *
               (over_context(seat.data, seat.tensor) * gathers_ * narrow_ + over_context(seat.data, t) * wide_);
      bytes += scored * of_logits * wide_ + counts * (own.tensor_counts + peer.tensor_counts);
      visit_(TrafficKind::tensor, rank_of(place, s), rank_of(place, other), bytes);
    }
  }
}

void Step::context(const Place& place, const StreamWork& work, const Layers& l) const {
  const ParallelConfig& p = mesh_.sizes();
  const double keys = l.attentions * keys_width(m_);
  const double counts = config_.train.balance_alpha != 0 ? l.moe * 8 : 0;
  for (int64_t s = 0; s < mesh_.stage_ranks(); ++s) {
    const Seat seat = mesh_.seat(s);
    for (int64_t c = 0; c < p.cp; ++c) {
      if (c == seat.context) continue;
      const int64_t other = (seat.data * p.cp + c) * p.tp + seat.tensor;
      const RankWork &own = work[size_t(s)], &peer = work[size_t(other)];
      visit_(TrafficKind::context, rank_of(place, s), rank_of(place, other),
             keys * (own.rows * gathers_ * narrow_ + peer.rows * wide_) +
                 counts * (own.context_counts + peer.context_counts));
    }
  }
}

// One leg of tokens' way, from each of the ranks `members` to each other.
struct Step::Hop {
  std::vector<int> members;                   // places among the stage's ranks
  std::vector<double> tokens;                 // that each brings, of all layers and micro-batches
  std::function<ExpertVisits(size_t)> there;  // of one token at a member
  bool by_group = true;                       // what comes back
  double headers = 0;                         // of a block of tokens
};

void Step::hop(const Place& place, const Hop& hop) const {
  const double row = double(m_.hidden_size) * narrow_, number = wide_, id = 4;
  // x in F, its gradient in B; of layers that [fp8] keeps high they are larger than this says.
  const DType dtype = activation_dtype(config_.train.precision);
  const double sent = double(recipe_.experts_gate_up.x_bytes(1, m_.hidden_size, dtype) +
                             recipe_.experts_down.dy_bytes(1, m_.hidden_size, dtype));
  for (size_t to = 0; to < hop.members.size(); ++to) {
    const ExpertVisits visits = hop.there(to);
    const double out = visits.tokens * (sent + id) + visits.pairs * (number + id);
    const double back = 2 * row * (hop.by_group ? visits.groups : visits.pairs) + number * visits.pairs;
    for (size_t from = 0; from < hop.members.size(); ++from) {
      if (from == to) continue;
      const int64_t owner = rank_of(place, hop.members[from]), holder = rank_of(place, hop.members[to]);
      visit_(TrafficKind::experts, owner, holder, 16 * hop.headers + hop.tokens[from] * out);
      visit_(TrafficKind::experts, holder, owner, hop.tokens[from] * back);
    }
  }
}

void Step::experts(const Place& place, const StreamWork& work, double flights) const {
  const ops::RouteRule rule = route_rule(m_);
  const ParallelConfig& p = mesh_.sizes();
  const int64_t each = m_.n_routed_experts / p.ep;
  const auto rows = [&](const std::vector<int>& members) {
    std::vector<double> tokens;
    for (const int s : members) tokens.push_back(work[size_t(s)].rows);
    return tokens;
  };
  for (int64_t s = 0; s < mesh_.stage_ranks(); ++s) {
    const int64_t seat = mesh_.expert_seat(s);
    if (mesh_.experts_across(s).empty()) {
      if (seat > 0) continue;  // of each block once
      const bool whole = each % (rule.n_experts / rule.n_groups) == 0;
      const auto there = [&](size_t member) { return expected_visits(rule, int64_t(member) * each, each); };
      hop(place, {mesh_.expert_group(s), rows(mesh_.expert_group(s)), there, whole, flights});
      continue;
    }
    const int64_t node = p.node_ranks, of_node = each * node;
    const std::vector<int> across = mesh_.experts_across(s), within = mesh_.experts_within(s);
    if (seat < node) {
      const auto there = [&](size_t n) { return expected_visits(rule, int64_t(n) * of_node, of_node); };
      hop(place, {across, rows(across), there, true, flights});
    }
    if (seat % node != 0) continue;
    std::vector<double> tokens;  // of the ranks of a member's number on every node
    for (const int member : within) {
      tokens.push_back(0);
      for (const double n : rows(mesh_.experts_across(member))) tokens.back() += n;
    }
    const auto there = [&](size_t i) { return expected_visits(rule, (seat + int64_t(i)) * each, each); };
    hop(place, {within, tokens, there, false, flights * double(across.size())});
  }
}

}  // namespace

const char* traffic_name(TrafficKind kind) {
  switch (kind) {
    case TrafficKind::gradients: return "gradients";
    case TrafficKind::values: return "values";
    case TrafficKind::pipeline: return "pipeline";
    case TrafficKind::experts: return "experts";
    case TrafficKind::tensor: return "tensor";
    case TrafficKind::context: break;
  }
  return "context";
}

std::vector<MicroBatchShape> full_micro_batches(const Config& config) {
  const int64_t each = std::max<int64_t>(1, config.train.micro_batch_sequences);
  std::vector<MicroBatchShape> shapes;
  for (int64_t left = config.train.batch_sequences; left > 0; left -= each)
    shapes.emplace_back(size_t(std::min(each, left)), SequenceShape{config.data.sequence_length});
  return shapes;
}

void each_transfer(const Config& config, const Placement& placement, const std::vector<MicroBatchShape>& micro_batches,
                   const TransferVisitor& visit) {
  Step step(config, placement, visit);
  step.parameters();
  step.deal(micro_batches);
  step.activations();
}

}  // namespace hadal
