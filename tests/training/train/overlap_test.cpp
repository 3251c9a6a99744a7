// Schedules executed on a virtual clock: as long as the simulator says; and in F&B pairs each micro-batch's rows travel
// while the other computes.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "config/config_io.h"
#include "schedule/simulate.h"
#include "train/clocked_step.h"
#include "train/pair_overlap.h"
#include "train/step_trace.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// Attention and experts take a second each for F, B and W; all else nothing.
double one_second(const PieceEvent& event) {
  const std::string piece = event.piece;
  return piece == "attention" || piece == "experts" ? 1 : 0;
}

TEST(Overlap, ExecutedPipelinesTakeAsLongAsSimulatedOnes) {
  for (const char* layout : {"pp=4", "pp=2,schedule=interleaved,chunks=2", "pp=4,schedule=zb1p",
                             "pp=4,schedule=dualpipe", "pp=2,schedule=dualpipev"}) {
    ClockedCase c;
    c.model = even_model(4);
    c.parallel = parse_layout(layout);
    c.micro_batches = 12;
    c.cost = [](const PieceEvent& event) {  // uneven: B and W are not F
      const double seconds = one_second(event);
      return event.part == 'F' ? seconds : event.part == 'B' ? 1.25 * seconds : 0.5 * seconds;
    };
    const auto ranks = clocked_step(c);
    const Placement placement(c.model, c.parallel);
    SimulationCosts costs;
    costs.stage = {2, 3.5, 2.5, 1, 5.5};
    const Simulation simulated = simulate(make_plan(placement.pipeline(12)), costs);
    EXPECT_NEAR(makespan(ranks), simulated.makespan, 1e-9 * simulated.makespan) << layout;
    EXPECT_EQ(makespan(clocked_step(c)), makespan(ranks)) << "the same in every run";
  }
}

// With what pieces cost on this machine: the same numbers for both, whatever they are.
TEST(Overlap, ExecutedPipelinesTakeAsLongAsSimulatedOnesAtMeasuredCosts) {
  const PieceCosts costs = measured_costs(even_model(2), 2, 16);
  for (const char* layout : {"pp=4", "pp=4,schedule=zb1p", "pp=4,schedule=dualpipe"}) {
    ClockedCase c;
    c.model = even_model(4);
    c.parallel = parse_layout(layout);
    c.micro_batches = 12;
    c.cost = [&](const PieceEvent& event) { return cost_in(costs, event); };
    SimulationCosts of_stage;
    const double f = cost_of_layer(costs, 'F'), bi = cost_of_layer(costs, 'B'), w = cost_of_layer(costs, 'W');
    ASSERT_GT(std::min({f, bi, w}), 0);
    of_stage.stage = {f, bi + w, bi, w, f + bi + w};
    const double simulated = simulate(make_plan(Placement(c.model, c.parallel).pipeline(12)), of_stage).makespan;
    EXPECT_NEAR(makespan(clocked_step(c)), simulated, 1e-9 * simulated) << layout;
  }
}

TEST(Overlap, LinksTakeTheirTime) {
  ClockedCase c;
  c.model = even_model(2);
  c.parallel = parse_layout("pp=2");
  c.micro_batches = 1;
  c.cost = one_second;
  EXPECT_DOUBLE_EQ(makespan(clocked_step(c)), 2 * 6);
  c.links = [](int, int) { return LinkSpeed{0.25, 4 * 8 * 4 / 0.5}; };  // [4 rows, 8] f32 in half a second
  EXPECT_DOUBLE_EQ(makespan(clocked_step(c)), 2 * 6 + 2 * 0.75);
}

ClockedCase dualpipe_case(int64_t ranks, int64_t n) {
  ClockedCase c;
  c.model = even_model(ranks);
  c.parallel = parse_layout(fmt::format("dp=2,ep=2,pp={},schedule=dualpipe", ranks));
  c.micro_batches = n;
  c.cost = one_second;
  c.links = [](int, int) { return LinkSpeed{1, 0}; };  // as long as a piece: compute and traffic are 1 : 1 in F
  return c;
}

TEST(Overlap, EachAllToAllOfAPairTravelsWhileTheOtherMicroBatchComputes) {
  ClockedCase c = dualpipe_case(4, 16);
  const Placement placement(c.model, c.parallel);
  const auto lists = make_plan(placement.pipeline(16)).ranks;
  const auto on = clocked_step(c);
  for (size_t rank = 0; rank < on.size(); ++rank)
    EXPECT_EQ(not_overlapped(on[rank].events, lists[rank / 2]), "") << "rank " << rank;
  c.overlap = false;
  const auto off = clocked_step(c);
  EXPECT_NE(not_overlapped(off[0].events, lists[0]), "") << "the control: one after the other nothing overlaps";
  double waited_on = 0, waited_off = 0;
  for (size_t rank = 0; rank < on.size(); ++rank)
    waited_on += waited(on[rank].events), waited_off += waited(off[rank].events);
  EXPECT_LT(waited_on, 0.5 * waited_off);
  EXPECT_LT(makespan(on), makespan(off));
}

// Two hops: a second across nodes, a quarter of one inside.
ClockedCase two_hops_case() {
  ClockedCase c = dualpipe_case(2, 12);
  c.model = even_model(4);
  c.model.n_groups = c.model.n_limited_groups = 2, c.model.n_shared_experts = 1;
  c.parallel = parse_layout("dp=4,ep=4,node_ranks=2,pp=2,schedule=dualpipe");
  c.cost = [](const PieceEvent& event) {
    const std::string piece = event.piece;
    return piece == "route" || piece == "shared experts" ? 0.25 : one_second(event);
  };
  c.links = [](int from, int to) { return LinkSpeed{from / 2 == to / 2 ? 0.25 : 1, 0}; };
  return c;
}

struct Told {
  double waited = 0, hidden = 0;  // seconds of all ranks; their share
};
Told told(const std::vector<ClockedRank>& ranks) {
  Told sum;
  std::vector<RankWaits> waits;
  for (const ClockedRank& rank : ranks) sum.waited += waited(rank.events), waits.push_back(rank.waits);
  sum.hidden = shares_of(waits, 1).travels[size_t(TrafficKind::experts)].hidden();
  return sum;
}

TEST(Overlap, BothHopsOfAPairTravelWhileTheOtherMicroBatchComputes) {
  ClockedCase c = two_hops_case();
  const auto lists = make_plan(Placement(c.model, c.parallel).pipeline(12)).ranks;
  const auto on = clocked_step(c);
  for (size_t rank = 0; rank < on.size(); ++rank) {
    EXPECT_EQ(not_overlapped(on[rank].events, lists[rank / 4]), "") << "rank " << rank;
    std::map<std::string, int64_t> count;
    for (const PieceEvent& e : on[rank].events) ++count[fmt::format("{} {}", e.piece, e.part)];
    EXPECT_GT(count["dispatch pass on F"], 0);
    for (const char* piece : {"dispatch pass on F", "dispatch pass on B", "combine pass on F", "combine pass on B"})
      EXPECT_EQ(count[piece], count["dispatch start F"]) << piece;
  }
  c.overlap = false;
  const auto off = clocked_step(c);
  EXPECT_NE(not_overlapped(off[0].events, lists[0]), "") << "the control";
  EXPECT_LT(told(on).waited, 0.35 * told(off).waited);
  EXPECT_GT(told(on).hidden, 0.75);
  EXPECT_LT(told(off).hidden, 0.1);
  EXPECT_LT(makespan(on), makespan(off));
}

// Without a shared expert F has nothing behind which a hop inside a node could hide while B's rows go back; the hop
// across nodes still does.
TEST(Overlap, WithOneComputePieceItIsTheHopAcrossNodesThatHides) {
  ClockedCase c = two_hops_case();
  c.model.n_shared_experts = 0;
  const auto lists = make_plan(Placement(c.model, c.parallel).pipeline(12)).ranks;
  const auto ranks = clocked_step(c);
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    EXPECT_EQ(not_overlapped(ranks[rank].events, lists[rank / 4]).substr(0, 15), "dispatch wait B");
}

TEST(Overlap, NothingIsPassedOnWhereThereIsOneHop) {
  for (const auto& rank : clocked_step(dualpipe_case(2, 4)))
    for (const PieceEvent& e : rank.events) EXPECT_EQ(std::string(e.piece).find("pass on"), std::string::npos);
}

}  // namespace
}  // namespace hadal
