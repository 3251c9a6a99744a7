// Timeline: what a rank did when, piece by piece; what `hadal train --trace` writes and what tests of overlap read.
// Time comes from outside: seconds of this machine, or a virtual clock that every piece moves on by its cost.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hadal {

struct PieceEvent {
  // "attention", "dispatch start"; "receive": a stage waits for its neighbour; "values", "gradients": for ranks that
  // share the update of its parameters
  const char* piece = "";
  char part = 'F';  // F, B or W
  int64_t stage = 0, micro_batch = 0;
  bool traffic = false;  // moves rows or waits for them: its time is a wait
  bool starts = false;   // sends rows to experts, or back
  bool ends = false;     // waits for such rows; a pass-on does, and then sends them on
  double begin = 0, end = 0;
};

struct Timeline {
  std::function<double()> now;                      // seconds
  std::function<void(const PieceEvent&)> computed;  // after a compute piece: moves a virtual clock on; or empty
  std::vector<PieceEvent> events = {};
};

}  // namespace hadal
