// Which of the experts' ranks a token visits where its routes are drawn evenly: n_limited_groups of the groups, each
// set of them as likely as any other, and top_k of the experts in these. A router that is balanced, and knows nothing
// of the token, does that; a real one visits fewer ranks, since it sends like tokens to like experts.
#pragma once
#include <cstdint>

#include "ops/routing.h"

namespace hadal {

// Of one token, as expectations, at the experts [begin, begin + count).
struct ExpertVisits {
  double tokens = 0;  // the chance that it comes at all
  double pairs = 0;   // experts that it visits
  double groups = 0;  // groups that it visits, of those that begin there
};
ExpertVisits expected_visits(const ops::RouteRule& rule, int64_t begin, int64_t count);

}  // namespace hadal
