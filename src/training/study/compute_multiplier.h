// How many times the FLOPs a baseline would need to reach what another model reaches.
#pragma once
#include <cstdint>
#include <vector>

namespace hadal {

// What runs with the same text in the same order ended at: rows are FLOPs (ascending), columns are seeds.
struct LossesByFlops {
  std::vector<double> flops;
  std::vector<std::vector<double>> losses;  // [flops][seed]
};

struct ComputeMultiplier {
  double value = 0;          // NaN where it cannot be told: one budget alone, or a baseline whose loss does not fall
  double low = 0, high = 0;  // 95 % of the draws lie between them
  bool told() const { return value == value; }
};

// At flops[at]: with L = a - b ln C fitted to the baseline's runs by least squares, and D the mean over seeds of its
// loss less the other's, exp(D / b). The interval is of a bootstrap: seeds are drawn with replacement, the same for
// both (they share their text, so noise that is common to a seed cancels) and for each budget anew. Few seeds make it
// too narrow. Both have the same FLOPs and as many seeds at each.
ComputeMultiplier compute_multiplier(const LossesByFlops& model, const LossesByFlops& baseline, size_t at,
                                     int64_t draws = 2000, uint64_t seed = 1);

}  // namespace hadal
