// Executor: runs a list of actions over the stages that a rank holds. The one-rank trainer, validation, scoring and
// generation are lists over one stage (schedule/schedule.h); a pipeline's (schedule/pipeline.h) name several, and what
// goes from stage to stage travels between ranks. A flight begins with its F and ends with its last action, so a list
// says how many are in memory at once.
#pragma once
#include <functional>
#include <span>

#include "model/pipeline_links.h"
#include "model/stage.h"

namespace hadal {

struct FlightHooks {
  std::function<void(Flight&, int64_t micro_batch)> begin;  // before its F: weights, routes, observer, cache
  std::function<void(Flight&, int64_t micro_batch)> after_forward;
};

using HeldStages = std::vector<std::pair<int64_t, std::unique_ptr<Stage>>>;  // by number

// links: null where the stages are one, the whole model. Sums of all micro-batches, merged in their order whatever the
// order of the actions. Throws internal, before anything runs, when the list is not whole: every micro-batch that comes
// to a stage has one F there first and, where gradients are kept, B, or Bi and later W.
LossSums execute(const Actions& actions, const HeldStages& stages, const Pass& pass,
                 std::span<const MicroBatch> batches, const FlightHooks& hooks, const PipelineLinks* links = nullptr);

}  // namespace hadal
