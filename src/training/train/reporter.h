// What a run tells: the screen, RUN/log.txt and RUN/metrics.jsonl. Of all ranks one has a reporter, and with it the run
// directory.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/exec.h"
#include "base/log.h"
#include "config/config.h"
#include "data/domains.h"
#include "nn/part_clock.h"
#include "train/metrics.h"
#include "train/run_directory.h"
#include "train/screen.h"
#include "train/step.h"
#include "train/step_trace.h"
#include "train/train_state.h"
#include "train/validation.h"

namespace hadal {

struct StepTime {
  double seconds = 0;
  StepWaits waits;  // of several ranks
};

class Reporter {
 public:
  // Takes the run directory; throws as RunDirectory does.
  Reporter(const std::string& run, bool quiet);

  RunDirectory& directory() { return directory_; }
  Log& log() { return log_; }
  void say(const std::string& text) { screen_.say(text); }
  void open_metrics(const DataConfig& data, int64_t step);

  // The run begins or goes on: what computes it, and what changed since it was last at work.
  void announce(const Config& config, const Exec& exec, const TrainState& state,
                const std::vector<std::string>& changed, const std::string& transport);
  void step(const Config& config, const data::Batch& batch, const StepResult& result, const TrainState& state,
            const StepTime& time, PartClock& clock);
  void validation(const Config& config, const TrainState& state, const ValidationResult& result, bool final);
  void average(const TrainState& state, const ValidationResult& result);  // of the moving average, at the end
  // Whether a validation was due after the step at which the run goes on, and is not in its metrics.
  bool lacks_validation(const Config& config, const TrainState& state) const;
  void sample(const TrainState& state, const std::string& prompt, const std::string& text);
  void shadow(const nlohmann::ordered_json& line);  // of a shadow check; says so where FP8 is far off
  void failed(const std::string& why);              // the run directory's log keeps it; the screen hears it from above
  void end();                                       // says so if lines were lost

 private:
  void packing(const data::Batch& batch);
  int64_t tokens_left(const Config& config, const TrainState& state) const;

  Log log_;
  RunDirectory directory_;
  Screen screen_;
  std::unique_ptr<MetricsWriter> metrics_;
  std::shared_ptr<MemoryPool> of_device_;  // where a run computes on one
  double flops_per_token_ = 0, product_flops_ = 0, smoothed_seconds_ = 0;
  data::Domains domains_;
  std::vector<std::string> sources_;
  int64_t sequences_left_ = 0;  // of the steps to come, as the batch ramp plans them
};

}  // namespace hadal
