// How much of the all-to-all of expert ranks each pipeline schedule hides: steps of 8 pipeline ranks with 120
// micro-batches, executed on a virtual clock (comm/virtual_clock.h), where in each direction traffic takes as long as
// compute. So the figures are of the schedule and the executor, not of this machine. Two hops (layouts with node_ranks)
// take four fifths of that time across nodes and a fifth inside one. A second table takes what the pieces of a layer
// cost here, measured once in CPU time, which are not even.
#include <fmt/format.h>

#include <cstring>
#include <set>

#include "base/table.h"
#include "config/config_io.h"
#include "schedule/simulate.h"
#include "train/clocked_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr int64_t kRanks = 8, kMicroBatches = 120;

// A layer's F is attention and experts, a second each, router and shared experts, a quarter; B the same, W half of it.
PieceCosts even_costs() {
  PieceCosts costs;
  for (const auto& [piece, seconds] :
       {std::pair{"attention", 1.0}, {"experts", 1.0}, {"route", 0.25}, {"shared experts", 0.25}})
    costs[{piece, 'F'}] = costs[{piece, 'B'}] = seconds, costs[{piece, 'W'}] = seconds / 2;
  return costs;
}

// Of a layer with V3's proportions: hidden 512, 4 heads of 128 + 64, 16 experts of which 4 are chosen, 512 rows.
PieceCosts costs_here() {
  ModelConfig m = even_model(2);
  m.vocab_size = 256, m.hidden_size = 512, m.n_heads = 4, m.q_lora_rank = 128, m.kv_lora_rank = 64;
  m.qk_nope_head_dim = m.v_head_dim = 128, m.qk_rope_head_dim = 64, m.n_routed_experts = 16;
  m.n_experts_per_token = 4, m.n_shared_experts = 1, m.expert_ffn_size = 192, m.max_positions = 512;
  return measured_costs(m, 4, 512);
}

struct Share {
  double waited = 0, under_way = 0;
  double hidden() const { return under_way > 0 ? 1 - waited / under_way : 0; }
};

struct Measured {
  double makespan = 0, computed = 0;
  Share step, pairs;
};

Measured measure(const std::string& layout, const PieceCosts& costs, bool overlap) {
  ClockedCase c;
  c.model = even_model(16);
  c.parallel = parse_layout(layout);
  c.micro_batches = kMicroBatches;
  c.cost = [&](const PieceEvent& event) { return cost_in(costs, event); };
  c.model.n_shared_experts = 1;
  const int node = int(c.parallel.node_ranks);
  if (node > 0) c.model.n_groups = c.model.n_limited_groups = 2;
  const double all_to_all = cost_of_layer(costs, 'F') / 2;  // two in F
  c.links = [node, all_to_all](int from, int to) {
    return LinkSpeed{all_to_all * (node == 0 ? 1 : from / node == to / node ? 0.2 : 0.8), 0};
  };
  c.overlap = overlap;
  const auto ranks = clocked_step(c);
  const Placement placement(c.model, c.parallel);
  const auto lists = make_plan(placement.pipeline(kMicroBatches)).ranks;
  Measured measured;
  measured.makespan = makespan(ranks);
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    std::set<std::tuple<char, int64_t, int64_t>> paired;
    const Actions& list = lists[rank / size_t(c.parallel.dp)];
    for (size_t i = 0; i + 1 < list.size(); ++i) {
      if (!list[i].overlaps_next) continue;
      paired.insert({'F', list[i].stage, list[i].micro_batch});
      paired.insert({'B', list[i + 1].stage, list[i + 1].micro_batch});
    }
    for (const PieceEvent& e : ranks[rank].events) {
      if (!e.traffic) measured.computed += e.end - e.begin;
      if (!e.traffic || std::strcmp(e.piece, "receive") == 0) continue;
      const bool leaves = e.starts && !e.ends;
      const auto count = [&](Share& share) {
        share.waited += e.end - e.begin, share.under_way += leaves ? all_to_all : 0;
      };
      count(measured.step);
      if (paired.contains({e.part, e.stage, e.micro_batch})) count(measured.pairs);
    }
  }
  measured.computed /= double(ranks.size());
  return measured;
}

// Whether dualpipe reaches its floors.
bool print_table(const PieceCosts& costs) {
  Table table({"schedule", "step, s", "computing", "all-to-all hidden in pairs", "of the step's", "pairs off: step"});
  bool fine = true;
  for (const char* schedule :
       {"1f1b", "zb1p", "interleaved,chunks=2", "dualpipe", "dualpipev", "dualpipe,dp=4,ep=4,node_ranks=2"}) {
    const bool two_ways = std::string(schedule).starts_with("dualpipe");
    const bool two_hops = std::string(schedule).ends_with("node_ranks=2");
    const std::string layout = fmt::format("{}pp={},schedule={}", two_hops ? "" : "dp=2,ep=2,", kRanks, schedule);
    const Measured on = measure(layout, costs, true);
    const double off = two_ways ? measure(layout, costs, false).makespan : on.makespan;
    table.add({schedule, fmt::format("{:.1f}", on.makespan), fmt::format("{:.1f} %", 100 * on.computed / on.makespan),
               on.pairs.under_way > 0 ? fmt::format("{:.1f} %", 100 * on.pairs.hidden()) : "no pairs",
               fmt::format("{:.1f} %", 100 * on.step.hidden()), fmt::format("{:.1f}", off)});
    if (std::string(schedule) == "dualpipe") fine = on.pairs.hidden() >= 0.8 && on.step.hidden() >= 0.7;
  }
  fmt::print("{}\nfloors of dualpipe: 80 % in pairs, 70 % of the step's: {}\n\n", table.text(),
             fine ? "held" : "MISSED");
  return fine;
}

int run() {
  fmt::print("{} pipeline ranks x 2 expert ranks, {} micro-batches, 16 layers; compute : all-to-all = 1 : 1 in F\n\n",
             kRanks, kMicroBatches);
  bool fine = print_table(even_costs());
  const PieceCosts here = costs_here();
  fmt::print("the same with what pieces cost on this machine, in ms:\n");
  for (const auto& [piece, seconds] : here)
    if (seconds > 1e-5) fmt::print("  {} {} {:.2f}\n", piece.first, piece.second, 1e3 * seconds);
  fmt::print("\n");
  fine = print_table(here) && fine;
  return fine ? 0 : 1;
}

}  // namespace
}  // namespace hadal

int main() { return hadal::run(); }
