// What a person sees of a running training: one live line on a terminal, plain lines in a log.
//   step 120/1000 12 % │ loss 3.214 mtp 3.402 │ load 1.32 │ grad 0.81 │ lr 2.9e-03 │ 41.2k tok/s mfu 38 % │ 0.9 GiB │
//     5.2M/48M tok │ ETA 3m12s
// with a loss scale also: scale 65536, and how many steps it has skipped; with dialogues: 12.1k of 41.2k tok/s trained,
// padding 3 %, epoch 1/2; with several domains behind the loss that of each in this step: (code 2.91, prose 3.40)
#pragma once
#include <string>
#include <vector>

#include "base/log.h"
#include "train/step.h"

namespace hadal {

struct StepFacts {  // beside the StepResult
  int64_t total_steps = 0, tokens_done = 0, tokens_left = 0;
  double smoothed_loss = 0, seconds = 0, tokens_per_second = 0, mfu = 0, eta_seconds = 0;
  uint64_t memory_bytes = 0;
  int64_t epochs = 0;                // after which the text ends; 0: it does not
  std::vector<std::string> domains;  // names of the result's
};

std::string step_line(const StepResult& result, const StepFacts& facts);

class Screen {
 public:
  Screen(Log& log, bool quiet);
  ~Screen();
  void step(const StepResult& result, const StepFacts& facts);
  void warn(const std::string& text);
  void say(const std::string& text);  // a line of its own; the live line moves on below it

 private:
  void wipe();
  Log& log_;
  bool quiet_, terminal_, live_ = false;
  double next_plain_ = 0;
};

}  // namespace hadal
