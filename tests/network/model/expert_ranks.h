// A model whose experts lie on several ranks, as threads, each with micro-batches of its own; and one rank that runs
// all of them. What both leave is written down number by number.
#pragma once
#include <map>

#include "comm/group.h"
#include "comm/rank_threads.h"
#include "model/small_model.h"

namespace hadal::testing {

struct ExpertCase {
  ModelConfig config = small_config();
  ModelOptions options = training_options(Precision::fp32);
  Isa isa = best_isa();
  int ranks = 2;
  int nodes = 0;                                 // two hops, over so many; 0: one
  std::vector<std::vector<MicroBatch>> batches;  // [round][rank]
  Actions actions;                               // of each rank over its rounds; empty: one after another
  std::vector<RouteReplay> routes;               // of every micro-batch, round by round; empty: as the routers choose
  std::function<std::shared_ptr<Transport>(std::shared_ptr<Transport>)> wrap;

  int64_t rounds() const { return int64_t(batches.size()); }
  size_t batch_of(int64_t round, int rank) const { return size_t(round * ranks + rank); }
};

struct Sums {  // of LossSums, what must agree to the bit
  double main, balance;
  std::vector<double> mtp;
  std::vector<std::vector<int64_t>> load;
  bool operator==(const Sums&) const = default;
};
inline Sums sums_of(const LossSums& sums) { return {sums.main, sums.balance, sums.mtp, sums.expert_load}; }

using Gradients = std::map<std::string, std::vector<double>>;
struct RankRecord {
  Sums sums;                                              // of its rounds
  std::vector<std::vector<std::vector<int32_t>>> routes;  // [round][MoE layer]
  std::vector<std::vector<double>> log_probs;             // [round], of a forward alone
  Gradients gradients;                                    // experts' from their box
  Traffic all, across, within;                            // of the training step
  int64_t step_bytes = 0, forward_bytes = 0;              // memory at most, beside what there was before
  int64_t estimated_bytes = 0;                            // of the step, rows being evenly spread
};

inline std::vector<double> numbers_of(const Exec& exec, const Tensor& tensor) {
  const Tensor wide = tensor.to(exec, DType::f64);
  return {wide.data<double>(), wide.data<double>() + wide.count()};
}
inline bool is_expert(const Parameter& parameter) { return parameter.spec.kind == ParameterKind::routed_expert; }

// One step over some micro-batches, then a forward of each.
inline RankRecord run_step(const ExpertCase& c, SmallModel& small, const std::vector<MicroBatch>& batches,
                           std::vector<RouteReplay> routes) {
  const Exec& exec = small.owned.exec;
  RankRecord record;
  exec.memory->reset_peak();
  const size_t before = exec.memory->bytes_in_use();
  routes.resize(batches.size());
  Wants wants;
  wants.routes = routes;
  small.model.begin_step(int64_t(batches.size()));
  const Actions* list = c.actions.empty() || int64_t(batches.size()) != c.rounds() ? nullptr : &c.actions;
  record.sums = sums_of(small.model.forward_backward(exec, batches, loss_weights(c.config), wants, list));
  record.step_bytes = int64_t(exec.memory->peak_bytes() - before);
  int64_t longest = 0;
  for (const MicroBatch& batch : batches) longest = std::max(longest, batch.n_tokens());
  record.estimated_bytes = small.model.moving_bytes(longest, longest, exec.compute->n_threads(),
                                                    list ? *list : one_stage(batches.size()), {});
  for (const RouteReplay& one : routes) record.routes.push_back(one.experts);
  for (const Parameter* p : small.model.parameters()) {
    EXPECT_TRUE(!p->spec.trained || p->complete()) << p->spec.name;
    if (p->grad) record.gradients[p->spec.name] = numbers_of(exec, p->grad);
  }
  return record;
}

inline void run_forwards(SmallModel& small, const std::vector<MicroBatch>& batches, std::vector<RouteReplay> routes,
                         RankRecord& record) {
  const std::shared_ptr<MemoryPool>& memory = small.owned.exec.memory;
  memory->reset_peak();
  const size_t before = memory->bytes_in_use();
  for (size_t b = 0; b < batches.size(); ++b) {
    Wants wants;
    if (!routes.empty()) wants.routes = std::span(&routes[b], 1);
    wants.log_probs = &record.log_probs.emplace_back();
    small.model.forward(small.owned.exec, batches[b], wants);
  }
  record.forward_bytes = int64_t(memory->peak_bytes() - before);
}

// In every layer each token visits these experts.
inline RouteReplay same_routes(const ModelConfig& config, const MicroBatch& batch,
                               const std::vector<int32_t>& experts) {
  RouteReplay routes;
  routes.replay = true;
  for (int64_t layer = config.n_dense_layers; layer < config.n_layers + config.n_mtp; ++layer) {
    const int64_t depth = std::max<int64_t>(0, layer + 1 - config.n_layers);
    const int64_t n = depth == 0 ? batch.n_tokens() : mtp_rows(batch, depth).batch.n_tokens();
    std::vector<int32_t>& of_layer = routes.experts.emplace_back();
    for (int64_t t = 0; t < n; ++t) of_layer.insert(of_layer.end(), experts.begin(), experts.end());
  }
  return routes;
}

inline std::vector<RankRecord> run_ranks(const ExpertCase& c) {
  std::vector<RankRecord> records(static_cast<size_t>(c.ranks));
  run_rank_threads(c.ranks, [&](std::shared_ptr<Transport> transport) {
    if (c.wrap) transport = c.wrap(transport);
    const int rank = transport->rank();
    Group experts(transport, "experts");
    std::unique_ptr<Group> across, within;
    if (c.nodes > 0) {
      const int size = c.ranks / c.nodes, node = rank / size, index = rank % size;
      std::vector<int> same_index, same_node;
      for (int n = 0; n < c.nodes; ++n) same_index.push_back(n * size + index);
      for (int i = 0; i < size; ++i) same_node.push_back(node * size + i);
      across = std::make_unique<Group>(transport, fmt::format("experts across nodes, {}", index), same_index);
      within = std::make_unique<Group>(transport, fmt::format("experts within node {}", node), same_node);
    }
    ModelShare share;
    share.box = [&](const ParameterSpec& spec) {
      Box box = Box::whole(spec.shape);
      if (spec.kind != ParameterKind::routed_expert) return box;
      box.size[0] /= c.ranks;
      box.begin[0] = rank * box.size[0];
      return box;
    };
    share.partners.experts = &experts;
    share.partners.experts_across = across.get(), share.partners.experts_within = within.get();
    SmallModel small(c.config, c.options, 1, c.isa, share);
    std::vector<MicroBatch> batches;
    std::vector<RouteReplay> routes;
    for (int64_t round = 0; round < c.rounds(); ++round) {
      batches.push_back(c.batches[size_t(round)][size_t(rank)]);
      if (!c.routes.empty()) routes.push_back(c.routes[c.batch_of(round, rank)]);
    }
    RankRecord& record = records[size_t(rank)];
    record = run_step(c, small, batches, routes);
    record.all = experts.traffic();
    if (across) record.across = across->traffic(), record.within = within->traffic();
    experts.barrier();  // until then others read rows of this rank, which are counted here
    run_forwards(small, batches, routes, record);
  });
  return records;
}

// What one rank that runs all micro-batches would have left on each rank: sums, routes and gradients of what is not an
// expert from that rank's micro-batches; the experts' gradients from all, one after another in the order of ranks.
inline std::vector<RankRecord> run_alone(const ExpertCase& c) {
  SmallModel small(c.config, c.options, 2, c.isa);
  std::vector<MicroBatch> all;
  for (const auto& round : c.batches) all.insert(all.end(), round.begin(), round.end());
  const RankRecord whole = run_step(c, small, all, c.routes);
  std::vector<RankRecord> records;
  for (int rank = 0; rank < c.ranks; ++rank) {
    std::vector<MicroBatch> batches;
    std::vector<RouteReplay> routes;
    for (int64_t round = 0; round < c.rounds(); ++round) {
      batches.push_back(c.batches[size_t(round)][size_t(rank)]);
      if (!c.routes.empty()) routes.push_back(c.routes[c.batch_of(round, rank)]);
    }
    RankRecord record = run_step(c, small, batches, routes);
    run_forwards(small, batches, routes, record);
    for (const Parameter* p : small.model.parameters()) {
      if (!is_expert(*p)) continue;
      const std::vector<double>& from = whole.gradients.at(p->spec.name);
      const size_t each = from.size() / size_t(c.ranks);
      record.gradients[p->spec.name].assign(from.begin() + int64_t(each) * rank,
                                            from.begin() + int64_t(each) * (rank + 1));
    }
    records.push_back(std::move(record));
  }
  return records;
}

// The first quantity that differs in a bit, and on which rank; empty: none.
inline std::string first_difference(const ExpertCase& c, const std::vector<RankRecord>& one,
                                    const std::vector<RankRecord>& many) {
  std::string found;
  const auto compare = [&](const std::string& what, const auto& quantity) {
    for (int rank = 0; rank < c.ranks && found.empty(); ++rank)
      if (!(quantity(one[size_t(rank)]) == quantity(many[size_t(rank)])))
        found = fmt::format("{} on rank {} of {}, {} nodes", what, rank, c.ranks, c.nodes);
  };
  compare("routes", [](const RankRecord& r) { return r.routes; });
  compare("losses", [](const RankRecord& r) { return r.sums; });
  compare("log-probabilities", [](const RankRecord& r) { return r.log_probs; });
  for (const auto& gradient : one[0].gradients)
    compare("the gradient of " + gradient.first, [&](const RankRecord& r) { return r.gradients.at(gradient.first); });
  return found;
}

}  // namespace hadal::testing
