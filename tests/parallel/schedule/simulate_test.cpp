// The clock against published formulas, and against figures of another implementation of the same lists.
#include "schedule/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "base/expect_error.h"
#include "schedule/every_schedule.h"

namespace hadal {
namespace {

using namespace hadal::testing;
using enum ScheduleKind;

constexpr double kExact = 1e-9;  // of sums of decimal fractions

StageCosts costs_of(double f, double b, double w, double fb) { return {f, b, b - w, w, fb}; }

Simulation run(const Pipeline& p, const StageCosts& costs) { return simulate(make_plan(p), {.stage = costs}); }

struct Row {
  StageCosts costs;
  int64_t n_ranks, n_micro_batches;
  double makespan, least_idle, worst_idle, bubble;
};

TEST(Simulate, DualPipeOfUnequalCostsAsElsewhere) {
  const StageCosts plain = costs_of(1, 2, 1, 3), paired = costs_of(1, 2, 1, 2.6), slow_f = costs_of(1.5, 2, 0.5, 2.8),
                   small_w = costs_of(1, 2, 0.5, 3), large_w = costs_of(1, 2.5, 1.5, 3.5),
                   mixed = costs_of(1, 2.2, 0.8, 2.6);
  const Row rows[] = {
      {plain, 4, 8, 26, 2, 2, 2},
      {plain, 8, 20, 66, 6, 6, 6},
      {plain, 16, 120, 374, 14, 14, 14},
      {paired, 4, 8, 24.4, 1.6, 1.6, 1.6},
      {paired, 8, 20, 60.4, 4.0, 4.8, 4.8},
      {paired, 16, 40, 122, 8.8, 11.2, 11.2},
      {slow_f, 4, 8, 29.2, 3.3, 3.3, 3.3},
      {slow_f, 8, 20, 72.2, 8.5, 9.9, 9.9},
      {slow_f, 16, 120, 371, 18.9, 23.1, 23.1},
      {small_w, 4, 8, 27, 3, 3, 3.5},
      {small_w, 8, 20, 69.5, 9.5, 9.5, 10.5},
      {small_w, 16, 40, 143.5, 23.5, 23.5, 24.5},
      {large_w, 4, 8, 30, 2, 2, 1.5},
      {large_w, 8, 20, 76, 6, 6, 4.5},
      {large_w, 16, 40, 154, 14, 14, 10.5},
      {mixed, 4, 8, 25.8, 2, 2, 2.4},
      {mixed, 8, 20, 63.6, 5.0, 6.2, 7.2},
      {mixed, 16, 120, 338, 12.2, 15.8, 16.8},
  };
  for (const Row& row : rows) {
    const Pipeline p{dualpipe, row.n_ranks, row.n_micro_batches};
    const Simulation s = run(p, row.costs);
    SCOPED_TRACE(
        fmt::format("F {} B {} F&B {}, {} ranks", row.costs.forward, row.costs.backward, row.costs.pair, row.n_ranks));
    double least = s.makespan;
    for (const RankTimes& rank : s.ranks) least = std::min(least, rank.idle);
    EXPECT_NEAR(s.makespan, row.makespan, kExact);
    EXPECT_NEAR(least, row.least_idle, kExact);
    EXPECT_NEAR(s.worst_idle(), row.worst_idle, kExact);
    EXPECT_NEAR(published_bubble(p, row.costs), row.bubble, kExact);
  }
}

std::vector<double> idle_times(const Simulation& s) {
  std::vector<double> idle;
  for (const RankTimes& rank : s.ranks) idle.push_back(rank.idle);
  return idle;
}

TEST(Simulate, MessagesTakeTheirTime) {
  const SimulationCosts costs{.stage = costs_of(1, 2, 1, 3), .message = 0.1};
  EXPECT_NEAR(simulate(make_plan({dualpipe, 4, 8}), costs).makespan, 26.9, kExact);
  EXPECT_NEAR(simulate(make_plan({dualpipe, 8, 20}), costs).makespan, 68.6, kExact);
  EXPECT_NEAR(simulate(make_plan({one_f_one_b, 1, 8}), costs).makespan, 24, kExact) << "one rank sends nothing";
}

TEST(Simulate, HeavierStagesSlowDownTheRanksThatHoldThem) {
  SimulationCosts costs{.stage = costs_of(1, 2, 1, 3), .factors = {1, 1, 1, 2}};
  Simulation s = simulate(make_plan({dualpipe, 4, 8}), costs);
  EXPECT_NEAR(s.makespan, 36, kExact);
  EXPECT_EQ(idle_times(s), (std::vector<double>{0, 12, 12, 0}));
  costs.factors = {1, 1, 1, 1, 1, 1, 1, 2};
  s = simulate(make_plan({dualpipe, 8, 20}), costs);
  EXPECT_NEAR(s.makespan, 90, kExact);
  EXPECT_EQ(idle_times(s), (std::vector<double>{0, 30, 30, 30, 30, 30, 30, 0}));
  costs.factors = {1, 2, 2, 1};
  s = simulate(make_plan({dualpipe, 4, 8}), costs);
  EXPECT_NEAR(s.makespan, 49, kExact);
  EXPECT_EQ(idle_times(s), (std::vector<double>{25, 1, 1, 25}));
}

TEST(Simulate, OtherSchedulesAtEqualCosts) {
  const StageCosts costs = costs_of(1, 2, 1, 3);
  for (const auto& [n_ranks, n, plain, zero] :
       {std::tuple{4, 8, 33., 27.}, std::tuple{8, 20, 81., 67.}, std::tuple{16, 120, 405., 375.}}) {
    EXPECT_NEAR(run({one_f_one_b, n_ranks, n}, costs).makespan, plain, kExact);
    EXPECT_NEAR(run({zb1p, n_ranks, n}, costs).makespan, zero, kExact);
  }
  EXPECT_NEAR(run({interleaved, 4, 8, 2}, costs.times(0.5)).makespan, 28.5, kExact);
}

double work(const Pipeline& p, const StageCosts& c) {
  return double(p.n_micro_batches * p.parts_per_rank()) * (c.forward + c.backward);
}

TEST(Simulate, OneFOneBIsItsFormulaAtAnyCosts) {
  for (const StageCosts& costs : {costs_of(1, 2, 1, 3), costs_of(3, 1, 0.5, 4), costs_of(0.7, 1.9, 0.2, 1)}) {
    for (const Pipeline& p : pipelines(one_f_one_b, 9))
      EXPECT_NEAR(run(p, costs).makespan, work(p, costs) + published_bubble(p, costs), kExact)
          << p.n_ranks << " " << p.n_micro_batches;
    for (const Pipeline& p : pipelines(interleaved, 8))
      EXPECT_NEAR(run(p, costs).makespan, work(p, costs) + published_bubble(p, costs), kExact)
          << p.n_ranks << " " << p.n_micro_batches << " " << p.chunks;
  }
}

TEST(Simulate, ZeroBubbleIsItsFormulaWhereFBiAndWAreEqual) {
  for (double unit : {1.0, 0.3}) {
    const StageCosts costs = costs_of(unit, 2 * unit, unit, 3 * unit);
    for (const Pipeline& p : pipelines(zb1p, 9)) {
      if (p.n_micro_batches < p.n_ranks) continue;  // the pipe is never full
      const Simulation s = run(p, costs);
      EXPECT_NEAR(s.makespan, work(p, costs) + published_bubble(p, costs), kExact)
          << p.n_ranks << " " << p.n_micro_batches;
      for (const RankTimes& rank : s.ranks) EXPECT_EQ(rank.in_flight, p.n_ranks);
    }
  }
}

TEST(Simulate, DualPipeIsItsFormulaOnTheWorstRankWhereFBiAndWAreEqual) {
  for (double pair : {2.0, 2.4, 2.6, 3.0}) {
    const StageCosts costs = costs_of(1, 2, 1, pair);
    for (ScheduleKind kind : {dualpipe, dualpipev}) {
      for (const Pipeline& p : pipelines(kind, kind == dualpipe ? 16 : 8)) {
        const Simulation s = run(p, costs);
        EXPECT_NEAR(s.worst_idle(), published_bubble(p, costs), kExact)
            << schedule_name(kind) << " " << p.n_ranks << " " << p.n_micro_batches << " " << pair;
      }
    }
  }
}

TEST(Simulate, ActivationsInFlight) {
  for (const Pipeline& p : pipelines(dualpipe, 16))
    for (const RankTimes& rank : run(p, {}).ranks) EXPECT_EQ(rank.in_flight, p.n_ranks + 1);
  for (const Pipeline& p : pipelines(dualpipev, 8))
    for (const RankTimes& rank : run(p, {}).ranks) EXPECT_EQ(rank.in_flight, 2 * p.n_ranks + 1);
  const Simulation plain = run({one_f_one_b, 4, 8}, {});
  for (int64_t rank = 0; rank < 4; ++rank) EXPECT_EQ(plain.ranks[size_t(rank)].in_flight, 4 - rank);
  EXPECT_EQ(plain.most_in_flight(), 4);
  EXPECT_EQ(run({interleaved, 4, 8, 2}, {}).most_in_flight(), 11);
}

TEST(Simulate, ActionsFollowEachOtherAndWaitForTheirMessages) {
  const PipelinePlan plan = make_plan({one_f_one_b, 2, 2});  // F0 F1 B0 B1; F0 B0 F1 B1
  const Simulation s = simulate(plan, {.message = 0.25});
  const auto begins = [&](size_t rank) {
    std::vector<double> times;
    for (const Span& span : s.ranks[rank].actions) times.push_back(span.begin);
    return times;
  };
  EXPECT_EQ(begins(0), (std::vector<double>{0, 1, 4.5, 7.5}));
  EXPECT_EQ(begins(1), (std::vector<double>{1.25, 2.25, 4.25, 5.25}));
  EXPECT_EQ(s.makespan, 9.5);
  const PipelinePlan paired = make_plan({dualpipe, 4, 8});
  const Simulation t = simulate(paired, {});
  for (size_t i = 0; i + 1 < paired.ranks[0].size(); ++i) {
    const Span a = t.ranks[0].actions[i], b = t.ranks[0].actions[i + 1];
    const bool together = paired.ranks[0][i].overlaps_next;
    EXPECT_TRUE(together ? a.begin == b.begin && a.end == b.end : b.begin >= a.end) << i;
  }
}

TEST(Simulate, CostsThatAreNoTimesAreRefused) {
  const PipelinePlan plan = make_plan({one_f_one_b, 2, 2});
  EXPECT_ERROR(simulate(plan, {.stage = {.forward = -1}}), ErrorKind::invalid, "a cost of -1");
  EXPECT_ERROR(simulate(plan, {.message = 1.0 / 0.0}), ErrorKind::invalid, "a cost of inf");
  EXPECT_ERROR(simulate(plan, {.factors = {1}}), ErrorKind::invalid, "1 factors for 2 stages");
  EXPECT_ERROR(simulate(plan, {.factors = {1, -2}}), ErrorKind::invalid, "factor of -2");
  PipelinePlan stuck = plan;
  stuck.ranks[0].clear();
  EXPECT_ERROR(simulate(stuck, {}), ErrorKind::internal, "rank 1 waits for ever at slot 0");
}

}  // namespace
}  // namespace hadal
