// Variants of FP8 training from the same start on the same batches: their losses, and on a frozen batch, every now and
// then, how far each variant's gradients are from those of FP64 of its own weights.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/prepare.h"
#include "study/gradient_errors.h"
#include "study/variants.h"

namespace hadal {

struct AblationOptions {
  int64_t steps = 300, seeds = 1;
  int64_t frozen_every = 100, frozen_tokens = 256;
  std::vector<Variant> variants;
  std::function<bool()> stop;                                        // asked after every step
  std::function<void(int64_t steps, const std::string& what)> done;  // told of progress, in steps of training
};

struct FrozenPoint {
  int64_t step = 0;
  GradientErrors errors;
};

struct VariantRun {
  uint64_t seed = 0;  // of the weights that it begins with
  std::vector<double> losses;
  std::vector<FrozenPoint> frozen;
  double bits_per_byte = 0;  // of held-out text, at the end; 0: there is none
  double seconds = 0;        // of its steps
};

struct VariantResult {
  Variant variant;
  std::string missing;  // why it was left out; empty: it was trained
  std::vector<VariantRun> runs;
};

struct Ablation {
  std::string title;
  int64_t steps = 0, tokens_a_step = 0, frozen_tokens = 0, parameters = 0;
  std::string place;  // threads and kernels
  std::vector<VariantResult> results;
  bool complete = true;
};

// config: resolved (train/resources.h), its text prepared.
Ablation run_ablation(const Config& config, const data::Prepared& prepared, const Exec& exec,
                      const AblationOptions& options);

}  // namespace hadal
