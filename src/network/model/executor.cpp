#include "model/executor.h"

#include "base/error.h"

namespace hadal {
namespace {

// What is to come for each micro-batch: its flight may go after the last of it.
std::vector<int64_t> actions_of_each(const Actions& actions, int64_t n_batches, bool keep) {
  std::vector<std::vector<ActionKind>> of(static_cast<size_t>(n_batches));
  for (const Action& action : actions) {
    check(action.micro_batch >= 0 && action.micro_batch < n_batches, ErrorKind::internal,
          "an action of micro-batch {} among {}", action.micro_batch, n_batches);
    of[size_t(action.micro_batch)].push_back(action.kind);
  }
  using enum ActionKind;
  using Kinds = std::vector<ActionKind>;
  std::vector<int64_t> count;
  for (size_t m = 0; m < of.size(); ++m) {
    const bool whole =
        keep ? of[m] == Kinds{forward, backward} || of[m] == Kinds{forward, backward_input, backward_weight}
             : of[m] == Kinds{forward};
    check(whole, ErrorKind::internal, "micro-batch {} has {} actions, which are not F and then {}", m, of[m].size(),
          keep ? "B, or Bi and W" : "nothing");
    count.push_back(int64_t(of[m].size()));
  }
  return count;
}

}  // namespace

LossSums execute(const Actions& actions, const Stage& stage, const Pass& pass, std::span<const MicroBatch> batches,
                 const FlightHooks& hooks) {
  std::vector<int64_t> left = actions_of_each(actions, int64_t(batches.size()), pass.keep);
  std::vector<std::unique_ptr<Flight>> flights(batches.size());
  std::vector<LossSums> sums(batches.size());
  FlightSizes sizes = stage.flight_sizes();
  if (pass.last_rows > 0) sizes.n_mtp = 0;
  for (const Action& action : actions) {
    const size_t m = size_t(action.micro_batch);
    std::unique_ptr<Flight>& flight = flights[m];
    if (action.kind == ActionKind::forward) {
      flight = std::make_unique<Flight>(pass.exec, batches[m], sizes, pass.partners);
      if (hooks.begin) hooks.begin(*flight, int64_t(m));
      stage.forward(pass, *flight);
      sums[m] = flight->sums();
      if (hooks.after_forward) hooks.after_forward(*flight, int64_t(m));
    } else {
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
