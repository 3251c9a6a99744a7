// The law of F&B pairs, of what one rank did when: each all-to-all of a pair is started before and awaited after a
// compute piece of the other micro-batch.
#pragma once
#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/timeline.h"
#include "schedule/schedule.h"

namespace hadal::testing {

// Empty, or the first start of an all-to-all that travels behind nothing.
inline std::string not_overlapped(const std::vector<PieceEvent>& events, const Actions& list) {
  std::map<std::pair<int64_t, int64_t>, std::pair<int64_t, int64_t>> partner;  // (stage, F's micro-batch) <-> B's
  for (size_t i = 0; i + 1 < list.size(); ++i) {
    if (!list[i].overlaps_next) continue;
    partner[{list[i].stage, list[i].micro_batch}] = {list[i + 1].stage, list[i + 1].micro_batch};
  }
  const auto starts = [](const PieceEvent& e) {
    const std::string piece = e.piece;
    return e.traffic && (piece.ends_with("pass on") || piece.ends_with(e.part == 'F' ? "start" : "wait"));
  };
  for (size_t i = 0; i < events.size(); ++i) {
    const PieceEvent& start = events[i];
    if (!starts(start)) continue;
    // Whose pair it is in: F's of the pair, or B's of another's.
    std::pair<int64_t, int64_t> other{-1, -1};
    for (const auto& [f, b] : partner) {
      if (start.part == 'F' && f == std::pair{start.stage, start.micro_batch}) other = b;
      if (start.part == 'B' && b == std::pair{start.stage, start.micro_batch}) other = f;
    }
    if (other.first < 0) continue;  // no pair
    bool computed = false;
    for (size_t k = i + 1; k < events.size(); ++k) {
      const PieceEvent& e = events[k];
      const bool own = e.stage == start.stage && e.micro_batch == start.micro_batch && e.part == start.part;
      if (own && e.traffic) break;  // its wait, or what passes it on
      computed = computed || (!e.traffic && e.end > e.begin && std::pair{e.stage, e.micro_batch} == other);
    }
    if (!computed)
      return fmt::format("{} {} of stage {}, micro-batch {}", start.piece, start.part, start.stage, start.micro_batch);
  }
  return "";
}

}  // namespace hadal::testing
