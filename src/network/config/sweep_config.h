// The table [sweep] of a sweep's file (config/sweep.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal {

struct SweepConfig {
  std::vector<double> budgets;         // FLOPs of training of one run, ascending
  std::vector<double> learning_rates;  // ascending; each arm tries them at the smallest budget with the first seed
  std::vector<int64_t> seeds = {1, 2, 3};
  std::string baseline;     // the arm that others are compared with; empty: the first
  double tolerance = 0.02;  // by which the arms' FLOPs of a token may differ
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("budgets", c.budgets, "FLOPs of training of one run, ascending");
    v("learning_rates", c.learning_rates, "ascending; each arm tries them at the smallest budget with the first seed");
    v("seeds", c.seeds, "of weights and of the order of the text");
    v("baseline", c.baseline, "the arm that the others are compared with; empty: the first");
    v("tolerance", c.tolerance, "by which the arms' FLOPs of a token (forward, without MTP) may differ, as a share");
  }
};

}  // namespace hadal
