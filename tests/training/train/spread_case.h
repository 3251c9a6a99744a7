// A model for tests of layouts: small, with experts in groups that may lie on several ranks.
#pragma once
#include "config/config_io.h"
#include "train/layout_check.h"
#include "train/small_step.h"

namespace hadal::testing {

// Eight experts in groups of two; a sequence of two tokens is too short for MTP, and some ranks have none.
inline LayoutCase spread_case(const std::string& layout, Precision precision) {
  LayoutCase c;
  c.config = small_config(precision);
  ModelConfig& m = c.config.model;
  m.n_routed_experts = 8, m.n_groups = 4, m.n_limited_groups = 2, m.n_experts_per_token = 3;
  m.n_dense_layers = 0;
  c.config.train.micro_batch_sequences = 1;
  c.config.optim.clip = 0.05;
  c.config.parallel = parse_layout(layout);
  c.lengths = {9, 4, 12, 2, 7};
  return c;
}

inline LayoutFindings check_it(const LayoutCase& c) {
  OwnedExec owned(2);
  return check_layout(c, owned.exec);
}

}  // namespace hadal::testing
