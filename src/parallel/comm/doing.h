// Doing: what a rank is at, for the sentence with which a wait without end is told. Written by the rank's own thread,
// in a few stores, and turned into text only when something has gone wrong.
#pragma once
#include <cstdint>
#include <string>

namespace hadal {

struct Doing {
  const char* part = "";  // of the run, a literal: "step", "validation after step"; "": nothing was said
  int64_t step = -1;
  const char* action = "";  // of the step's schedule, a literal: "F", "B", "Bi", "W"; "": none
  int64_t stage = 0, micro_batch = 0;

  void begin(const char* new_part, int64_t new_step) { part = new_part, step = new_step, action = ""; }
  void act(const char* kind, int64_t at_stage, int64_t of_micro_batch) {
    action = kind, stage = at_stage, micro_batch = of_micro_batch;
  }
  std::string text() const;  // "step 7, B of micro-batch 3 at stage 1"; "": nothing was said
};

}  // namespace hadal
