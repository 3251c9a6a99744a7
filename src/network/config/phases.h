// Phases: what a run goes through one after another (pre-training, extensions of the context, fine-tuning), as the
// entries [[phase]] of its configuration. What stands outside of them is common to all. An entry says
//   name, kind         what it is called, and which of the kinds it is; a kind brings defaults and checks of its own
//                      (training/phases/kinds.h)
//   from               the phase whose weights it starts from; the one before, and of the first none
//   moments            "restart" (default) or "keep" Adam's moments and the moving average of that phase
//   start              "weights" (default) or "average": which of them it starts from
//   set                a list of "KEY=VALUE" on top, as --set gives them
//   control_of         alone beside the name: the phase of that name once more without YaRN, all else the same: what an
//                      extension is held against. It starts where that phase starts, or from the control of it, and
//                      stands beside the main line: nothing but another control goes on from it
// and, in [phase.data], [phase.optim], [phase.train] …, keys that are others than outside. The model is that of the
// phase before: of it only model.yarn and model.max_positions may change, and the tokenizer never does.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"

namespace hadal {

struct Phase {
  std::string name, kind, from;  // from: empty of the first
  std::string control_of;        // empty: it is on the main line
  bool keeps_moments = false, starts_from_average = false;
  Config config;  // whole, but for run, start_model and tokenizer.path, which whoever walks the phases fills in
};

struct PhaseKind {
  std::string name, what;  // what: for --help
  // KEY=VALUE, above what stands outside of the phases and below what the phase says itself. `before` is the phase that
  // it starts from, or null.
  std::function<std::vector<std::string>(const Phase* before)> defaults;
  // Throws invalid where the phase is none of this kind.
  std::function<void(const Phase& phase, const Phase* before)> check;
};

struct PhasedConfig {
  Config base;                // what stands outside of the phases
  std::vector<Phase> phases;  // in order; empty: the configuration has none
  std::string toml;           // the same as a text that can be read again: what a run keeps
  const Phase* find(const std::string& name) const;
  const Phase* control_of(const std::string& name) const;  // null: it has none
};

bool has_phases(const std::string& path);  // a TOML file with [[phase]] in it

// The file with `set` on top: "optim.lr=1e-4" is common to all phases, "phase.NAME.optim.lr=1e-4" is one's; `adjust`
// may change what is common. Every phase is checked (validate and its kind); the message names it.
PhasedConfig load_phases(const std::string& path, std::span<const PhaseKind> kinds,
                         const std::vector<std::string>& set = {},
                         const std::function<void(Config&)>& adjust = nullptr);

}  // namespace hadal
