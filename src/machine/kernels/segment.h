// A document as attention sees it: rows of queries and of keys.
#pragma once
#include <cstdint>

namespace hadal {

// Queries, rows q_begin .. q_begin+n_q, are the LAST n_q of n_k positions, whose keys are rows k_begin .. k_begin+n_k;
// beside a table of blocks, k_begin is the first entry of its blocks.
struct Segment {
  int64_t q_begin = 0, n_q = 0, k_begin = 0, n_k = 0;
};

}  // namespace hadal
