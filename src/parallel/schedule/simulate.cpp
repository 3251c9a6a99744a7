#include "schedule/simulate.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "schedule/messages.h"

namespace hadal {
namespace {

void check_costs(const Pipeline& p, const SimulationCosts& costs) {
  const StageCosts& c = costs.stage;
  for (double cost : {c.forward, c.backward, c.backward_input, c.backward_weight, c.pair, costs.message})
    check(std::isfinite(cost) && cost >= 0, ErrorKind::invalid, "a cost of {}: it is 0 or more", cost);
  check(costs.factors.empty() || int64_t(costs.factors.size()) == p.n_stages(), ErrorKind::invalid,
        "{} factors for {} stages", costs.factors.size(), p.n_stages());
  for (double factor : costs.factors)
    check(std::isfinite(factor) && factor >= 0, ErrorKind::invalid, "a stage's factor of {}: it is 0 or more", factor);
}

class Clock {
 public:
  Clock(const PipelinePlan& plan, const SimulationCosts& costs)
      : plan_(plan),
        costs_(costs),
        slots_(slots_of(plan)),
        next_(plan.ranks.size(), 0),
        free_(plan.ranks.size(), 0),
        arrival_(size_t(2 * plan.pipeline.n_stages() * plan.pipeline.n_micro_batches), -1) {
    for (const Actions& list : plan.ranks) times_.push_back({.actions = std::vector<Span>(list.size())});
  }

  std::vector<RankTimes> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t rank = 0; rank < slots_.size(); ++rank) {
        while (next_[rank] < slots_[rank].size() && step(rank)) moved = true;
      }
    }
    for (size_t rank = 0; rank < slots_.size(); ++rank)
      check(next_[rank] == slots_[rank].size(), ErrorKind::internal, "rank {} waits for ever at slot {}", rank,
            next_[rank]);
    return std::move(times_);
  }

 private:
  bool step(size_t rank) {
    const Slot& slot = slots_[rank][next_[rank]];
    double begin = free_[rank];
    for (const PipelineMessage& m : slot.receives) {
      const double arrival = arrival_[message_index(plan_.pipeline, m)];
      if (arrival < 0) return false;
      begin = std::max(begin, arrival);
    }
    const double duration = cost(rank, slot), end = begin + duration;
    for (const PipelineMessage& m : slot.sends) arrival_[message_index(plan_.pipeline, m)] = end + costs_.message;
    for (size_t i = slot.first; i < slot.first + slot.count; ++i) times_[rank].actions[i] = {begin, end};
    times_[rank].busy += duration;
    free_[rank] = end;
    ++next_[rank];
    return true;
  }

  double factor(const Action& action) const {
    return costs_.factors.empty() ? 1 : costs_.factors[size_t(action.stage)];
  }

  double cost(size_t rank, const Slot& slot) const {
    const StageCosts& c = costs_.stage;
    const Action* action = &plan_.ranks[rank][slot.first];
    if (slot.count == 1) {
      const double of[] = {c.forward, c.backward, c.backward_input, c.backward_weight};
      return of[size_t(action->kind)] * factor(*action);
    }
    const double apart = c.forward + c.backward;
    if (apart == 0) return c.pair;
    return c.pair * (factor(action[0]) * c.forward + factor(action[1]) * c.backward) / apart;
  }

  const PipelinePlan& plan_;
  const SimulationCosts& costs_;
  const std::vector<Slots> slots_;
  std::vector<size_t> next_;
  std::vector<double> free_;     // when each rank is
  std::vector<double> arrival_;  // by message_index; below 0: not sent yet
  std::vector<RankTimes> times_;
};

int64_t most_at_once(const Actions& list) {
  int64_t now = 0, most = 0;
  for (const Action& action : list) {
    if (action.kind == ActionKind::forward) most = std::max(most, ++now);
    if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight) --now;
  }
  return most;
}

}  // namespace

StageCosts StageCosts::times(double factor) const {
  return {forward * factor, backward * factor, backward_input * factor, backward_weight * factor, pair * factor};
}

double Simulation::worst_idle() const {
  double worst = 0;
  for (const RankTimes& rank : ranks) worst = std::max(worst, rank.idle);
  return worst;
}

int64_t Simulation::most_in_flight() const {
  int64_t most = 0;
  for (const RankTimes& rank : ranks) most = std::max(most, rank.in_flight);
  return most;
}

Simulation simulate(const PipelinePlan& plan, const SimulationCosts& costs) {
  check_costs(plan.pipeline, costs);
  Simulation simulation{.ranks = Clock(plan, costs).run()};
  for (const RankTimes& rank : simulation.ranks)
    for (const Span& span : rank.actions) simulation.makespan = std::max(simulation.makespan, span.end);
  for (size_t rank = 0; rank < simulation.ranks.size(); ++rank) {
    RankTimes& times = simulation.ranks[rank];
    times.idle = simulation.makespan - times.busy;
    times.in_flight = most_at_once(plan.ranks[rank]);
  }
  return simulation;
}

double published_bubble(const Pipeline& p, const StageCosts& c) {
  const double ranks = double(p.n_ranks), plain = c.forward + c.backward;
  switch (p.schedule) {
    case ScheduleKind::zb1p: return (ranks - 1) * (plain - 2 * c.backward_weight);
    case ScheduleKind::dualpipe: return (ranks / 2 - 1) * (c.pair + c.backward - 3 * c.backward_weight);
    case ScheduleKind::dualpipev: return (ranks - 1) * (c.pair + c.backward - 3 * c.backward_weight);
    default: return (ranks - 1) * plain;
  }
}

const char* published_bubble_text(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::zb1p: return "(P - 1)(F + B - 2W)";
    case ScheduleKind::dualpipe: return "(P/2 - 1)(F&B + B - 3W)";
    case ScheduleKind::dualpipev: return "(P - 1)(F&B + B - 3W)";
    default: return "(P - 1)(F + B)";
  }
}

int64_t published_in_flight(const Pipeline& p) {
  if (p.two_ways()) return p.n_stages() + 1;
  return p.n_stages() + (p.chunks > 1 ? p.n_ranks - 1 : 0);
}

}  // namespace hadal
