// The trainer: from a configuration to a trained run directory, resumable at any step to the bit.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/exec.h"
#include "base/log.h"
#include "comm/transport.h"
#include "config/config.h"
#include "model/transformer.h"
#include "text/tokenizer.h"
#include "train/step.h"

namespace hadal {

struct TrainHooks {
  // Text of a sample, made by a room above (apps); may be empty.
  std::function<std::string(const Exec&, const Transformer&, const Tokenizer&, const std::string& prompt,
                            int64_t tokens, uint64_t seed)>
      sample;
  // When everything is ready for the first step; may be empty.
  std::function<void()> on_ready;
  // Asked after every step; true ends the run there, with its last validation, as if the text were used up. May be
  // empty.
  std::function<bool()> enough;
  // After every step; tests look in here.
  std::function<void(const StepResult&)> on_step;
};

struct TrainRequest {
  Config config;                     // config.run names the run directory
  std::vector<std::string> changes;  // "KEY=VALUE" of --change, already part of config: see RunDirectory::reconcile
  bool quiet = false;
  std::string trace;            // file of a Chrome trace of the first steps; empty: none
  int64_t stop_after_step = 0;  // end with a checkpoint after this step, as an interrupt would; 0 = no
  // Of a rank that is a process of its own; null: the configuration's ranks are threads of this process.
  std::shared_ptr<Transport> transport;
  TrainHooks hooks;
};

struct TrainOutcome {
  int64_t steps = 0;         // done in all
  int64_t resumed_from = 0;  // 0 = started new
  bool interrupted = false;
  double bits_per_byte = 0;  // of the last validation, 0 if there was none
  double seconds = 0;
  std::string checkpoint;  // directory of the last one
};

// Of ranks that are processes the first has the outcome's figures; every one returns.
TrainOutcome train(const TrainRequest& request, const Exec& exec);

}  // namespace hadal
