// Metrics of a run as JSON lines, RUN/metrics.jsonl. Kinds of lines ("kind"):
//   start       time, version, device facts, parameters, configuration digest
//   step        step, loss, mtp_loss [..], balance_loss, lr, lambda, gamma, grad_norm, sequences, tokens (done so far),
//               seconds (of the step), tokens_per_second, mfu, memory_bytes, load (max/mean); every now and then also
//               layer_norms [..], expert_load [[..]], parts {name: seconds of this step in the model's forward and
//               backward}; with dialogues trained (targets), padding (places), epoch; skipped when no update was
//               made; with a loss scale loss_scale (of this step) and overflows (steps skipped because of it so
//               far); where sources have several domains, domains {name: {loss, targets}} of those in the batch
//   packing     step 1: sources [..], sequences [{passages [[source, tokens] ..], padding} ..] of its batch
//   validation  step, bits_per_byte, loss, bytes, windows, final; of several domains {name: {bits_per_byte, loss,
//               tokens, bytes, load (max/mean), expert_load [[..]]}}
//   average     step, bits_per_byte, loss, bytes, windows: of the moving average on the same text, at the run's end
//   sample      step, prompt, text
//   shadow      step, rank, layer, products [..]: what FP8 does to a layer's products (train/shadow_lines.h)
// The screen, `hadal report` and tests read these lines; a line that cannot be written (full disk) never stops the run.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

namespace hadal {

class MetricsWriter {
 public:
  // Keeps existing lines of steps up to `last_step` (a resumed run repeats what came after), drops the rest and torn
  // lines. A validation, average or sample that a kept line already holds is not written again: a finished run may be
  // opened any number of times.
  MetricsWriter(const std::filesystem::path& path, int64_t last_step);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;
  void write(const nlohmann::ordered_json& line);
  bool holds(const nlohmann::ordered_json& line) const;  // a kept line says the same of that step
  bool failed() const { return failed_; }                // a line could not be written

 private:
  static std::string mark(const nlohmann::ordered_json& line);  // empty: lines of this kind may repeat
  std::FILE* file_ = nullptr;
  bool failed_ = false;
  std::set<std::string> kept_;
};

std::vector<nlohmann::ordered_json> read_metrics(
    const std::filesystem::path& path);  // torn or foreign lines are passed over

}  // namespace hadal
