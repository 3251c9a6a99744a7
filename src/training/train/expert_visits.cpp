#include "train/expert_visits.h"

#include <algorithm>
#include <vector>

namespace hadal {
namespace {

// The chance that at least one of `here[g]` experts of each group g is among those that a token visits.
double chance_of_any(const ops::RouteRule& rule, const std::vector<int64_t>& here) {
  const int64_t limited = rule.n_limited_groups, n = rule.n_experts / rule.n_groups * limited;
  // sets[l][m]: the share of the sets of l groups in which m of the experts here are.
  std::vector<std::vector<double>> sets(size_t(limited) + 1, std::vector<double>(size_t(n) + 1, 0.0));
  sets[0][0] = 1;
  for (const int64_t m : here) {
    for (size_t l = size_t(limited); l > 0; --l)
      for (size_t before = 0; before + size_t(m) <= size_t(n); ++before)
        sets[l][before + size_t(m)] += sets[l - 1][before];
  }
  double all = 0, none = 0;
  for (int64_t m = 0; m <= n; ++m) {
    double missed = 1;  // C(n - m, k) / C(n, k)
    for (int64_t i = 0; i < rule.top_k; ++i) missed *= std::max(0.0, double(n - m - i)) / double(n - i);
    all += sets[size_t(limited)][size_t(m)];
    none += sets[size_t(limited)][size_t(m)] * missed;
  }
  return 1 - none / all;
}

}  // namespace

ExpertVisits expected_visits(const ops::RouteRule& rule, int64_t begin, int64_t count) {
  const int64_t of_group = rule.n_experts / rule.n_groups;
  std::vector<int64_t> here(size_t(rule.n_groups), 0), one(size_t(rule.n_groups), 0);
  int64_t begun = 0;
  for (int64_t e = begin; e < begin + count; ++e) {
    ++here[size_t(e / of_group)];
    begun += e % of_group == 0 ? 1 : 0;
  }
  one[0] = of_group;
  return {chance_of_any(rule, here), double(rule.top_k) * double(count) / double(rule.n_experts),
          double(begun) * chance_of_any(rule, one)};
}

}  // namespace hadal
