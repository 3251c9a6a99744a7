// A line through the baseline's losses, and how far along it another's loss lies.
#include "study/compute_multiplier.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace hadal {
namespace {

using Choice = std::vector<std::vector<size_t>>;  // [flops][draw]: which seeds

// b of L = a - b ln C, by least squares over the chosen runs; NaN of one budget.
double fall_of(const LossesByFlops& runs, const Choice& choice) {
  double n = 0, x_sum = 0, y_sum = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < runs.flops.size(); ++i) {
    const double x = std::log(runs.flops[i] / runs.flops.front());
    for (const size_t seed : choice[i]) {
      const double y = runs.losses[i][seed];
      n += 1, x_sum += x, y_sum += y, xx += x * x, xy += x * y;
    }
  }
  return -(n * xy - x_sum * y_sum) / (n * xx - x_sum * x_sum);
}

double multiplier_of(const LossesByFlops& model, const LossesByFlops& baseline, size_t at, const Choice& choice) {
  const double fall = fall_of(baseline, choice);
  if (!(fall > 0)) return std::numeric_limits<double>::quiet_NaN();
  double gain = 0;
  for (const size_t seed : choice[at]) gain += baseline.losses[at][seed] - model.losses[at][seed];
  return std::exp(gain / double(choice[at].size()) / fall);
}

Choice each_once(const LossesByFlops& runs) {
  Choice choice;
  for (const auto& losses : runs.losses) {
    choice.emplace_back();
    for (size_t seed = 0; seed < losses.size(); ++seed) choice.back().push_back(seed);
  }
  return choice;
}

}  // namespace

ComputeMultiplier compute_multiplier(const LossesByFlops& model, const LossesByFlops& baseline, size_t at,
                                     int64_t draws, uint64_t seed) {
  check(model.flops == baseline.flops && model.losses.size() == baseline.losses.size() && at < model.flops.size(),
        ErrorKind::internal, "multiplier of runs with other budgets");
  ComputeMultiplier result;
  Choice choice = each_once(baseline);
  result.value = multiplier_of(model, baseline, at, choice);
  result.low = result.high = result.value;
  if (!result.told()) return result;
  RandomStream random{seed, stream_id("study.multiplier"), 0};
  std::vector<double> drawn;
  for (int64_t draw = 0; draw < draws; ++draw) {
    for (auto& seeds : choice)
      for (size_t& one : seeds) one = size_t(random.below(seeds.size()));
    const double value = multiplier_of(model, baseline, at, choice);
    if (value == value) drawn.push_back(value);  // a draw whose baseline does not fall says nothing
  }
  if (drawn.empty()) return result;
  std::sort(drawn.begin(), drawn.end());
  const auto at_share = [&](double share) { return drawn[size_t(std::llround(share * double(drawn.size() - 1)))]; };
  result.low = at_share(0.025), result.high = at_share(0.975);
  return result;
}

}  // namespace hadal
