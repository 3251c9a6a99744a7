// The runs of a sweep.
#include "study/sweep.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/isa.h"
#include "config/config_io.h"
#include "data/prepare.h"
#include "study/pages.h"
#include "train/metrics.h"
#include "train/run_directory.h"
#include "train/trainer.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

SweptArm figures_of(const SweepArm& arm, const Sweep& sweep, int64_t vocabulary, int64_t tokens_a_step) {
  SweptArm one;
  one.name = arm.name, one.title = arm.title, one.model = arm.config.model;
  if (one.model.vocab_size == 0) one.model.vocab_size = vocabulary;
  validate(one.model);
  one.parameters = count_parameters(one.model);
  const FlopCounts flops = count_flops(one.model, arm.config.data.sequence_length);
  one.forward_flops = flops.linear + flops.attention_causal;
  one.training_flops = 3 * (one.forward_flops + flops.mtp);
  one.cache_bytes = cache_bytes(one.model).own;
  const auto run_of = [&](double budget, int64_t seed, double rate) {
    SweepRun run;
    run.budget = budget, run.seed = seed, run.learning_rate = rate;
    run.steps = std::llround(budget / one.training_flops / double(tokens_a_step));
    check(run.steps >= 1, ErrorKind::invalid,
          "sweep.budgets: {:.3g} FLOP are less than a step of arm '{}' ({} tokens, {:.3g} FLOP each)", budget, arm.name,
          tokens_a_step, one.training_flops);
    return run;
  };
  for (const double rate : sweep.config.learning_rates)
    one.tries.push_back(run_of(sweep.config.budgets.front(), sweep.config.seeds.front(), rate));
  for (const double budget : sweep.config.budgets)
    for (const int64_t seed : sweep.config.seeds) one.runs.push_back(run_of(budget, seed, 0));
  return one;
}

void check_flops_agree(const std::vector<SweptArm>& arms, double tolerance) {
  const auto [least, most] = std::minmax_element(
      arms.begin(), arms.end(), [](const SweptArm& a, const SweptArm& b) { return a.forward_flops < b.forward_flops; });
  check(
      most->forward_flops <= least->forward_flops * (1 + tolerance), ErrorKind::invalid,
      "arm '{}' takes {:.4g} FLOP a token and arm '{}' {:.4g}, {:.1f} % more; sweep.tolerance allows {:g} %: change a "
      "width of one of them",
      least->name, least->forward_flops, most->name, most->forward_flops,
      100 * (most->forward_flops / least->forward_flops - 1), 100 * tolerance);
}

class Runner {
 public:
  Runner(SweepResult& result, const Exec& exec, const SweepOptions& options)
      : result_(result), exec_(exec), o_(options) {}

  void go() {
    for (size_t i = 0; i < result_.arms.size(); ++i)
      if (!arm(result_.sweep.arms[i], result_.arms[i])) return;
  }

 private:
  bool arm(const SweepArm& asked, SweptArm& arm) {
    for (SweepRun& one : arm.tries)
      if (!run(asked, arm, one)) return false;
    const auto best = std::min_element(arm.tries.begin(), arm.tries.end(), [](const SweepRun& a, const SweepRun& b) {
      return a.bits_per_byte < b.bits_per_byte;
    });
    arm.learning_rate = best->learning_rate;
    arm.rate_at_edge = arm.tries.size() > 1 && (best == arm.tries.begin() || best == std::prev(arm.tries.end()));
    arm.runs.front() = *best;
    for (SweepRun& one : arm.runs) {
      one.learning_rate = arm.learning_rate;
      if (!one.done && !run(asked, arm, one)) return false;
    }
    return true;
  }

  Config config_of(const SweepArm& asked, const SweptArm& arm, const SweepRun& run) const {
    Config config = asked.config;
    config.model = arm.model;
    config.optim.lr = run.learning_rate;
    config.train.steps = run.steps;
    config.train.seed = config.data.seed = uint64_t(run.seed);
    config.run = (fs::path(result_.sweep.run) / arm.name /
                  fmt::format("flops-{:g}-lr-{:g}-seed-{}", run.budget, run.learning_rate, run.seed))
                     .string();
    config.data.cache = data::cache_directory(text_config(result_.sweep)).string();
    return config;
  }

  // False: it was interrupted.
  bool run(const SweepArm& asked, const SweptArm& arm, SweepRun& run) {
    if (interrupted()) return false;
    const Config config = config_of(asked, arm, run);
    const std::string what =
        fmt::format("{}, {:.3g} FLOP, learning rate {:g}, seed {}", arm.name, run.budget, run.learning_rate, run.seed);
    if (!read(config, arm, run)) {
      TrainRequest request;
      request.config = config;
      request.quiet = true;
      request.hooks.on_step = [&](const StepResult& step) {
        if (o_.step)
          o_.step(arm.training_flops * double(result_.tokens_a_step), fmt::format("{}, loss {:.3f}", what, step.loss));
      };
      if (train(request, exec_).interrupted) return false;
      check(read(config, arm, run), ErrorKind::invalid,
            "{}: {} ended without a validation; leave text for it (data.holdout_fraction)", config.run, what);
      if (o_.say) o_.say(fmt::format("{}: {:.4f} bits per byte", what, run.bits_per_byte));
    }
    if (o_.after_run) o_.after_run(result_);
    return true;
  }

  // True: the run has ended, and its figures are read. One whose steps are of another configuration is refused.
  static bool read(const Config& config, const SweptArm& arm, SweepRun& run) {
    if (!fs::exists(fs::path(config.run) / "config.toml")) return false;
    RunDirectory(config.run).reconcile(config);
    std::vector<double> speeds;
    run.curve.clear();
    const double step_flops = arm.training_flops;
    double tokens = 0;
    for (const auto& line : read_metrics(RunDirectoryView(config.run).metrics())) {
      const std::string kind = line.value("kind", "");
      if (kind == "step") speeds.push_back(line.value("tokens_per_second", 0.0)), tokens = line.value("tokens", 0.0);
      if (kind != "validation") continue;
      run.bits_per_byte = line.value("bits_per_byte", 0.0);
      run.curve.emplace_back(step_flops * tokens, run.bits_per_byte);
      run.done = line.value("final", false) && line.value("step", int64_t(0)) == run.steps;
    }
    run.tokens_per_second = speeds.empty() ? 0 : median(speeds);
    return run.done;
  }

  SweepResult& result_;
  const Exec& exec_;
  const SweepOptions& o_;
};

double sum_flops(const SweepResult& result, bool done_alone) {
  double sum = 0;
  for (const SweptArm& arm : result.arms) {
    const auto add = [&](const SweepRun& run) {
      if (run.done || !done_alone) sum += double(run.steps * result.tokens_a_step) * arm.training_flops;
    };
    std::for_each(arm.tries.begin(), arm.tries.end(), add);
    std::for_each(arm.runs.begin() + 1, arm.runs.end(), add);  // the first is one of the tries
  }
  return sum;
}

}  // namespace

double SweepResult::done_flops() const { return sum_flops(*this, true); }
double SweepResult::all_flops() const { return sum_flops(*this, false); }

bool SweepResult::complete() const {
  for (const SweptArm& arm : arms)
    for (const SweepRun& run : arm.runs)
      if (!run.done) return false;
  return true;
}

SweepResult plan_sweep(const Sweep& sweep, int64_t vocabulary) {
  SweepResult result;
  result.sweep = sweep;
  const Config& common = sweep.arms.front().config;
  result.tokens_a_step = common.train.batch_sequences * common.data.sequence_length;
  for (const SweepArm& arm : sweep.arms)
    result.arms.push_back(figures_of(arm, sweep, vocabulary, result.tokens_a_step));
  check_flops_agree(result.arms, sweep.config.tolerance);
  return result;
}

Config text_config(const Sweep& sweep) {
  Config config = sweep.arms.front().config;
  config.run = sweep.run;
  return config;
}

void run_sweep(SweepResult& result, const Exec& exec, const SweepOptions& options) {
  result.place = fmt::format("{} threads, kernels {}", exec.compute->n_threads(), isa_name(exec.isa));
  Runner(result, exec, options).go();
}

}  // namespace hadal
