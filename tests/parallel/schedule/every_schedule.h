// All pipelines up to a size, of one schedule or of all.
#pragma once
#include <vector>

#include "base/error.h"
#include "schedule/pipeline.h"

namespace hadal::testing {

constexpr ScheduleKind kAllSchedules[] = {ScheduleKind::one_f_one_b, ScheduleKind::interleaved, ScheduleKind::zb1p,
                                          ScheduleKind::dualpipe, ScheduleKind::dualpipev};

inline bool allowed(const Pipeline& pipeline) {
  try {
    check_pipeline(pipeline);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Every number of ranks up to the most, every number of micro-batches up to five per rank that the schedule takes.
inline std::vector<Pipeline> pipelines(ScheduleKind kind, int64_t most_ranks) {
  std::vector<Pipeline> all;
  const int64_t least = kind == ScheduleKind::interleaved ? 2 : 1, most = kind == ScheduleKind::interleaved ? 4 : 1;
  for (int64_t n_ranks = 1; n_ranks <= most_ranks; ++n_ranks) {
    for (int64_t n = 1; n <= 5 * n_ranks; ++n) {
      for (int64_t chunks = least; chunks <= most; ++chunks) {
        const Pipeline pipeline{kind, n_ranks, n, chunks};
        if (allowed(pipeline)) all.push_back(pipeline);
      }
    }
  }
  return all;
}

}  // namespace hadal::testing
