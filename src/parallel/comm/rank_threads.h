// Ranks as threads of one process: every layout runs on a laptop, with the same code and the same bits as on many
// machines. Nobody waits for ever: when a rank throws, the others' waits end; a rank that waits for one that has
// returned, and ranks that all wait for each other, are found at once.
#pragma once
#include <functional>

#include "comm/transport.h"

namespace hadal {

constexpr int kMostRankThreads = 256;

// Runs body once for each rank, rank 0 in the calling thread, and returns when all have. The first error is thrown
// again, with its rank in front; it hides those that it led to.
void run_rank_threads(int n_ranks, const std::function<void(std::shared_ptr<Transport>)>& body);

}  // namespace hadal
