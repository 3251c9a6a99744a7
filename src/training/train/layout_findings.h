// What a check of layouts (layout_check.h) found: distances, what differs first, and which parts of a step it made run.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/enums.h"

namespace hadal {

struct LayoutRow {
  std::string quantity;  // "gradient", "weight on rank 1"
  double distance = 0;   // relative, the largest over parameters and steps
  double limit = 0;
  std::string worst;  // "layers.1.ffn.gate, step 2"
};

// Which parts of a step ran, as counted in the steps of the one rank.
struct LayoutExercise {
  int64_t steps = 0;
  int64_t micro_batches = 0, micro_batches_of_a_rank = 0;  // of a step; of the data rank with most
  int64_t least_targets = 0, most_targets = 0;             // of a micro-batch
  bool masked = false;                                     // documents of a sequence do not see each other
  int64_t mtp_depths = 0;                                  // with a loss
  Recompute recompute = Recompute::none;
  double clip = 0;
  int64_t clipped_steps = 0;
  int64_t idle_steps = 0;  // in which some expert got no token
  std::string text() const;
};

struct LayoutFindings {
  std::vector<LayoutRow> rows;
  std::string first;            // the first quantity that differs, its parameter, step, distance and limit; or empty
  std::string first_parameter;  // the same of the first that is a parameter's, in the model's order; empty: of none
  LayoutExercise exercised;
  bool agree() const { return first.empty(); }
  std::string difference() const;  // both in one line; empty: all agree
};

}  // namespace hadal
