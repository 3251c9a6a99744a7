// A sweep: models of several kinds (arms) trained on the same text with the same FLOPs, to see which makes more of
// them. One file: what stands outside of [sweep] and [[arm]] is common to all runs, an entry [[arm]] says
//   name, title   what it is called, as a directory and on the page
//   set           a list of "KEY=VALUE" on top, as --set gives them
// and, in [arm.model], [arm.train], [arm.optim], keys that are others than outside.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"
#include "config/sweep_config.h"

namespace hadal {

struct SweepArm {
  std::string name, title;
  Config config;  // whole, but for run, steps, seeds and learning rate
};

struct Sweep {
  SweepConfig config;
  std::string run;  // the directory of all runs
  std::vector<SweepArm> arms;
  const SweepArm& baseline() const;
  const SweepArm* find(const std::string& name) const;
};

// The file with `set` on top, common to all arms ("arm.NAME.KEY=VALUE": one's; "sweep.KEY=VALUE": the sweep's own).
// Every arm is checked; that FLOPs agree is whoever runs it to check, since a tokenizer may have to be trained first.
Sweep load_sweep(const std::string& path, const std::vector<std::string>& set = {});

}  // namespace hadal
