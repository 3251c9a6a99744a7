// Executor: runs a list of actions over a stage. The one-rank trainer, validation, scoring and generation are lists of
// one stage (schedule/schedule.h); pipelines will be longer ones. A flight begins with its F and ends with its last
// action, so a list says how many are in memory at once.
#pragma once
#include <functional>
#include <span>

#include "model/stage.h"
#include "schedule/schedule.h"

namespace hadal {

struct FlightHooks {
  std::function<void(Flight&, int64_t micro_batch)> begin;  // before its F: weights, routes, observer, cache
  std::function<void(Flight&, int64_t micro_batch)> after_forward;
};

// Sums of all micro-batches, merged in their order whatever the order of the actions. Throws internal, before anything
// runs, when the list is not whole: every micro-batch has one F first and, where gradients are kept, B, or Bi and later
// W.
LossSums execute(const Actions& actions, const Stage& stage, const Pass& pass, std::span<const MicroBatch> batches,
                 const FlightHooks& hooks);

}  // namespace hadal
