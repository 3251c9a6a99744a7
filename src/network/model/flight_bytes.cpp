#include "model/flight_bytes.h"

#include <algorithm>

namespace hadal {

int64_t most_flight_bytes(const Actions& actions, const std::map<int64_t, StageBytes>& of_stage) {
  int64_t held = 0, most = 0;                     // held: by flights between their actions
  const auto begin = [&](const Action& action) {  // what the action's flight holds before it
    const StageBytes& bytes = of_stage.at(action.stage);
    using enum ActionKind;
    return action.kind == forward ? 0 : action.kind == backward_weight ? bytes.waiting : bytes.kept;
  };
  const auto end = [&](const Action& action) {
    const StageBytes& bytes = of_stage.at(action.stage);
    using enum ActionKind;
    return action.kind == forward ? bytes.kept : action.kind == backward_input ? bytes.waiting : 0;
  };
  const auto during = [&](const Action& action) {
    const StageBytes& bytes = of_stage.at(action.stage);
    switch (action.kind) {
      case ActionKind::forward: return bytes.forward;
      case ActionKind::backward: return bytes.backward;
      case ActionKind::backward_input: return bytes.backward_input;
      case ActionKind::backward_weight: break;
    }
    return bytes.weight;
  };
  for (size_t i = 0; i < actions.size(); ++i) {
    const Action& action = actions[i];
    if (action.overlaps_next && i + 1 < actions.size()) {  // one grows while the other shrinks
      const Action& next = actions[++i];
      const StageBytes &f = of_stage.at(action.stage), &b = of_stage.at(next.stage);
      most = std::max(most, held - b.kept + std::max(f.kept, b.kept) + f.pair_forward + b.pair_backward);
      held += f.kept - b.kept;
      continue;
    }
    most = std::max(most, held - begin(action) + during(action));
    held += end(action) - begin(action);
  }
  return most;
}

}  // namespace hadal
