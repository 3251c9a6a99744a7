// A plan run on a clock: an action begins when its rank is free and what it needs has arrived, and lasts as long as the
// costs say. Any unit of time.
//
// How long an ideal pipeline takes: equal stages and no links, P ranks, N micro-batches, costs of a stage, v stages of
// each rank (B includes W):
//
//   1f1b         N (F + B)   + (P - 1) (F + B)                 at any costs
//   interleaved  N v (F + B) + (P - 1) (F + B)                 at any costs
//   zb1p         N (F + B)   + (P - 1) (F + B - 2 W)           where F = Bi = W
//   dualpipe     N (F + B)   + (P / 2 - 1) (F&B + B - 3 W)     where F = Bi = W, less what pairs save; the worst rank
//   dualpipev    2 N (F + B) + (P - 1) (F&B + B - 3 W)         so too
//
// The second term is the published bubble, in which a rank stands idle. Elsewhere it is an estimate: the simulation
// says what the lists do.
#pragma once
#include "schedule/pipeline.h"

namespace hadal {

struct StageCosts {
  double forward = 1, backward = 2, backward_input = 1, backward_weight = 1;  // F, B, Bi, W
  double pair = 3;                                                            // F&B
  StageCosts times(double factor) const;
};

struct SimulationCosts {
  StageCosts stage;
  std::vector<double> factors;  // of each stage; none: all are equal. A pair takes its share of each of its two stages
  double message = 0;           // from the end of a slot to the moment at which the other rank has it
};

struct Span {
  double begin = 0, end = 0;
};

struct RankTimes {
  std::vector<Span> actions;  // of the rank's list; both of a pair have its whole span
  double busy = 0;
  double idle = 0;        // until the last rank has ended
  int64_t in_flight = 0;  // most (stage, micro-batch)es at once between their F and their last action
};

struct Simulation {
  double makespan = 0;
  std::vector<RankTimes> ranks;
  double worst_idle() const;
  int64_t most_in_flight() const;
};

// Throws invalid for costs that are below zero or not finite or factors for another number of stages, internal for a
// plan that does not come to its end.
Simulation simulate(const PipelinePlan& plan, const SimulationCosts& costs);

// The second term above, and as it is written.
double published_bubble(const Pipeline& pipeline, const StageCosts& costs);
const char* published_bubble_text(ScheduleKind kind);
// Most (stage, micro-batch)es in flight on a rank, where there are enough micro-batches to fill the pipeline.
int64_t published_in_flight(const Pipeline& pipeline);

}  // namespace hadal
