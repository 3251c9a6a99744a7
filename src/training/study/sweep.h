// Runs a sweep (config/sweep.h): each arm tries the learning rates at the smallest budget, then trains with its best at
// every budget and seed. Every run is a run directory of its own, RUN/ARM/flops-F-lr-R-seed-S, which goes on where it
// stopped; one that has ended is read from its metrics.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "arch/arch.h"
#include "base/exec.h"
#include "config/sweep.h"
#include "study/compute_multiplier.h"

namespace hadal {

struct SweepRun {
  double budget = 0, learning_rate = 0;
  int64_t seed = 0, steps = 0;
  bool done = false;
  double bits_per_byte = 0;                      // of held-out text at its end
  double tokens_per_second = 0;                  // of training, median of its steps
  std::vector<std::pair<double, double>> curve;  // FLOPs so far, held-out bits per byte
};

struct SweptArm {
  std::string name, title;
  ModelConfig model;
  ParameterCounts parameters;
  double forward_flops = 0;     // of a token: products and causal attention, without MTP
  double training_flops = 0;    // of a token: three times that and what MTP costs, which is what budgets pay for
  int64_t cache_bytes = 0;      // of a token, BF16
  double learning_rate = 0;     // the best of those it tried; 0: not known yet
  bool rate_at_edge = false;    // it is the lowest or highest: another might be better
  std::vector<SweepRun> tries;  // at the smallest budget with the first seed, one for each learning rate
  std::vector<SweepRun> runs;   // [budget][seed], in this order
  const SweepRun& run(const SweepConfig& config, size_t budget, size_t seed) const {
    return runs[budget * config.seeds.size() + seed];
  }
};

struct SweepResult {
  Sweep sweep;
  std::vector<SweptArm> arms;
  int64_t tokens_a_step = 0;
  std::string place;  // threads and kernels
  double done_flops() const, all_flops() const;
  bool complete() const;
};

// The arms' figures and all runs, none of them done. `vocabulary` stands for model.vocab_size = 0. Throws invalid where
// FLOPs of a token differ by more than the tolerance, naming the narrowest and the widest arm, or where a budget is
// less than one step.
SweepResult plan_sweep(const Sweep& sweep, int64_t vocabulary);

// What prepares the text that all arms read, in the sweep's directory.
Config text_config(const Sweep& sweep);

struct SweepOptions {
  std::function<void(const std::string&)> say;                      // sentences; may be empty
  std::function<void(double flops, const std::string& what)> step;  // after every step of training; may be empty
  std::function<void(const SweepResult&)> after_run;                // may be empty
};

// Ends early, with what is done, where it is interrupted.
void run_sweep(SweepResult& result, const Exec& exec, const SweepOptions& options);

// The arm's against the baseline's, at a budget all of whose runs have ended; not told otherwise.
ComputeMultiplier multiplier_of(const SweepResult& result, const SweptArm& arm, size_t budget);

std::string sweep_page(const SweepResult& result);
std::string sweep_table(const SweepResult& result);     // for the screen
std::string sweep_sentence(const SweepResult& result);  // what came out, in words; empty where nothing can be said yet

}  // namespace hadal
