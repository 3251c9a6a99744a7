#include "model/executor.h"

#include "base/error.h"

namespace hadal {
namespace {

// What is still to come for each micro-batch: its flight may go after the last of it.
std::vector<int64_t> actions_of_each(const Actions& actions, int64_t n_batches) {
  std::vector<int64_t> left(size_t(n_batches), 0);
  for (const Action& action : actions) {
    check(action.micro_batch >= 0 && action.micro_batch < n_batches, ErrorKind::internal,
          "an action of micro-batch {} among {}", action.micro_batch, n_batches);
    ++left[size_t(action.micro_batch)];
  }
  return left;
}

}  // namespace

LossSums execute(const Actions& actions, const Stage& stage, const Pass& pass, std::span<const MicroBatch> batches,
                 const FlightHooks& hooks) {
  std::vector<int64_t> left = actions_of_each(actions, int64_t(batches.size()));
  std::vector<std::unique_ptr<Flight>> flights(batches.size());
  std::vector<LossSums> sums(batches.size());
  for (const Action& action : actions) {
    const size_t m = size_t(action.micro_batch);
    std::unique_ptr<Flight>& flight = flights[m];
    if (action.kind == ActionKind::forward) {
      flight = std::make_unique<Flight>(pass.exec, batches[m], stage.flight_sizes());
      if (hooks.begin) hooks.begin(*flight, int64_t(m));
      stage.forward(pass, *flight);
      sums[m] = flight->sums();
      if (hooks.after_forward) hooks.after_forward(*flight, int64_t(m));
    } else {
      check(bool(flight), ErrorKind::internal, "micro-batch {} goes backward, but is not under way", m);
      switch (action.kind) {
        case ActionKind::backward: stage.backward(pass, *flight); break;
        case ActionKind::backward_input: stage.backward_input(pass, *flight); break;
        default: stage.backward_weight(pass, *flight);
      }
    }
    if (--left[m] == 0) flight.reset();
  }
  LossSums total;
  for (const LossSums& part : sums) total.merge(part);
  return total;
}

}  // namespace hadal
