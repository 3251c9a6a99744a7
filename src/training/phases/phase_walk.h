// The walk through a run's phases: each is a run of its own, RUN/NAME, that starts from the weights of the one that it
// follows and has its tokenizer. RUN/phases.toml keeps the configuration, RUN/phases.json what has ended
// (checkpoint/phase_record.h). A walk that is interrupted goes on at the phase and step where it stood.
// A phase that has begun stays as it is: another configuration of it is refused, later ones may be edited.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/phase_record.h"
#include "config/phases.h"
#include "train/trainer.h"

namespace hadal {

struct PhaseWalk {
  PhasedConfig plan;                            // base.run: the run's directory
  std::string only;                             // walk this phase alone; empty: go on with the first unfinished one
  std::string until;                            // and end behind this one; empty: behind the last
  std::vector<std::string> changes;             // "KEY=VALUE" of --change, for the phase that goes on
  bool leads = true;                            // of several processes the one that writes the record
  std::function<void(const std::string&)> say;  // may be empty
  // Trains a phase whose configuration is whole: run, start, tokenizer.
  std::function<TrainOutcome(const Phase& phase, const std::vector<std::string>& changes)> train;
  // Asks the model of a phase that has ended, in this walk or before, what its configuration wants to know and the run
  // does not keep yet; of several processes in the leading one. May be empty.
  std::function<void(const Phase& phase)> evaluate;
};

struct PhaseOutcome {
  bool interrupted = false;
  std::vector<PhaseRecord> records;  // of all phases that have ended
  TrainOutcome last;                 // of the last phase that ran in this walk
};

// Throws invalid for a phase that is unknown, or whose `from` has not ended; what training throws.
PhaseOutcome walk_phases(const PhaseWalk& walk);

// The phases on one axis of tokens: learning rate, batch and context as text pictures, and a table of steps, tokens,
// sources and FLOPs.
std::string draw_phases(const PhasedConfig& plan, int64_t columns = 72);

}  // namespace hadal
