// Who visits whom where routing is even.
#include "model/expert_visits.h"

#include <gtest/gtest.h>

#include <vector>

namespace hadal {
namespace {

// Against all choices, one by one: 3 of 12 experts, in 2 of 4 groups.
TEST(ExpertVisits, AreThoseOfAllChoicesCountedOneByOne) {
  ops::RouteRule rule;
  rule.n_experts = 12, rule.top_k = 3, rule.n_groups = 4, rule.n_limited_groups = 2;
  const std::vector<std::pair<int64_t, int64_t>> runs = {{0, 3}, {0, 6}, {4, 4}, {11, 1}, {0, 12}};
  for (const auto& [begin, count] : runs) {
    double choices = 0, tokens = 0, pairs = 0, groups = 0;
    for (int64_t g = 0; g < 4; ++g) {
      for (int64_t h = g + 1; h < 4; ++h) {
        const int64_t of[] = {3 * g, 3 * g + 1, 3 * g + 2, 3 * h, 3 * h + 1, 3 * h + 2};
        for (int set = 0; set < 64; ++set) {
          if (__builtin_popcount(unsigned(set)) != 3) continue;
          int64_t here = 0;
          bool in_g = false, in_h = false;
          for (int i = 0; i < 6; ++i) {
            if ((set >> i & 1) == 0 || of[i] < begin || of[i] >= begin + count) continue;
            ++here, (i < 3 ? in_g : in_h) = true;
          }
          ++choices, tokens += here > 0 ? 1 : 0, pairs += double(here), groups += int(in_g) + int(in_h);
        }
      }
    }
    const ExpertVisits visits = expected_visits(rule, begin, count);
    EXPECT_NEAR(visits.tokens, tokens / choices, 1e-12) << begin << " " << count;
    EXPECT_NEAR(visits.pairs, pairs / choices, 1e-12) << begin << " " << count;
    if (begin % 3 == 0 && count % 3 == 0) {
      EXPECT_NEAR(visits.groups, groups / choices, 1e-12) << begin << " " << count;
    }
  }
}

}  // namespace
}  // namespace hadal
