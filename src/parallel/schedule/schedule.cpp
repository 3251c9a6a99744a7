#include "schedule/schedule.h"

namespace hadal {

Actions one_stage(int64_t n_micro_batches) {
  Actions actions;
  for (int64_t m = 0; m < n_micro_batches; ++m) {
    actions.push_back({ActionKind::forward, 0, m});
    actions.push_back({ActionKind::backward, 0, m});
  }
  return actions;
}

Actions forward_only(int64_t n_micro_batches) {
  Actions actions;
  for (int64_t m = 0; m < n_micro_batches; ++m) actions.push_back({ActionKind::forward, 0, m});
  return actions;
}

}  // namespace hadal
