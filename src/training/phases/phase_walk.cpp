// Phase after phase.
#include "phases/phase_walk.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/files.h"
#include "base/text_format.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "train/run_directory.h"
#include "train/train_state.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

class Walker {
 public:
  explicit Walker(const PhaseWalk& walk) : walk_(walk), run_(walk.plan.base.run) {}

  PhaseOutcome go() {
    check_names();
    make_directories(run_);
    if (walk_.leads) lock_ = FileLock(run_ / "lock", "run directory");
    outcome_.records = read_phase_records(run_);
    for (const Phase& phase : walk_.plan.phases) check_unchanged(phase);
    if (walk_.leads) atomic_write(run_ / kPhasesFile, walk_.plan.toml);
    for (const Phase& phase : walk_.plan.phases) {
      if (asked(phase)) {
        if (!record_of(phase.name)) one(phase);
        if (!outcome_.interrupted && walk_.leads && walk_.evaluate) walk_.evaluate(filled(phase));
      }
      if (outcome_.interrupted || phase.name == walk_.until) break;
    }
    return std::move(outcome_);
  }

 private:
  void check_names() const {
    std::vector<std::string> known;
    for (const Phase& phase : walk_.plan.phases) known.push_back(phase.name);
    for (const auto& [option, name] : {std::pair("--phase", walk_.only), {"--until", walk_.until}}) {
      if (name.empty() || walk_.plan.find(name)) continue;
      fail(ErrorKind::invalid, "{} {}: the phases are {}", option, name, fmt::join(known, ", "));
    }
  }

  bool asked(const Phase& phase) const { return walk_.only.empty() || walk_.only == phase.name; }
  fs::path place(const std::string& name) const { return run_ / name; }

  const PhaseRecord* record_of(const std::string& name) const {
    for (const PhaseRecord& record : outcome_.records)
      if (record.name == name) return &record;
    return nullptr;
  }

  // A phase that has ended is what its directory says.
  void check_unchanged(const Phase& phase) const {
    const PhaseRecord* record = record_of(phase.name);
    if (!record || !walk_.leads) return;
    const Phase whole = filled(phase);
    check(record->kind == phase.kind && record->from == phase.from && record->control_of == phase.control_of,
          ErrorKind::invalid,
          "phase '{}' has ended as kind = \"{}\" from = \"{}\"{}; add another phase instead of changing it", phase.name,
          record->kind, record->from,
          record->control_of.empty() ? "" : fmt::format(" control_of = \"{}\"", record->control_of));
    for (const std::string& difference : RunDirectory(place(phase.name)).reconcile(whole.config).differences)
      check(!difference.starts_with("train.steps:"), ErrorKind::invalid,
            "phase '{}' has ended ({}); add another phase instead of changing it", phase.name, difference);
  }

  Phase filled(const Phase& phase) const {
    Phase whole = phase;
    Config& config = whole.config;
    config.run = place(phase.name).string();
    if (phase.from.empty()) return whole;
    const fs::path from = fs::weakly_canonical(fs::absolute(place(phase.from)));
    config.train.start_model = from.string();
    config.train.start_average = phase.starts_from_average;
    config.train.start_moments = phase.keeps_moments;
    config.train.start_extends = true;
    config.tokenizer.path = (from / "tokenizer").string();
    if (fs::exists(place(phase.name) / "config.toml") && !list_checkpoints(place(phase.name) / "checkpoints").empty()) {
      const Config stored = load_config((place(phase.name) / "config.toml").string());  // the run may lie elsewhere now
      config.train.start_model = stored.train.start_model, config.tokenizer.path = stored.tokenizer.path;
    }
    if (config.model.vocab_size == 0 && fs::exists(from / "config.toml"))
      config.model.vocab_size = load_config((from / "config.toml").string()).model.vocab_size;
    return whole;
  }

  void one(const Phase& phase) {
    check(phase.from.empty() || record_of(phase.from), ErrorKind::invalid,
          "phase '{}' starts from the weights of '{}', which has not ended; walk that first", phase.name, phase.from);
    Phase whole = filled(phase);
    const bool begun = fs::exists(place(phase.name) / "config.toml");
    const std::vector<std::string> changes = begun ? walk_.changes : std::vector<std::string>();
    apply_overrides(whole.config, changes, "--change");
    if (walk_.say) walk_.say(announcement(phase, begun));
    outcome_.last = walk_.train(whole, changes);
    outcome_.interrupted = outcome_.last.interrupted;
    if (outcome_.interrupted) return;
    PhaseRecord record{phase.name, phase.kind, phase.from, phase.control_of};
    if (walk_.leads) record = finished(phase);
    outcome_.records.push_back(std::move(record));
    if (walk_.leads) write_phase_records(run_, outcome_.records);
  }

  std::string announcement(const Phase& phase, bool begun) const {
    const size_t number = size_t(&phase - walk_.plan.phases.data()) + 1;
    std::string text =
        fmt::format("phase {} of {}: {} ({}{})", number, walk_.plan.phases.size(), phase.name, phase.kind,
                    phase.control_of.empty() ? "" : fmt::format(", the steps of {} without YaRN", phase.control_of));
    if (begun) return text + ", goes on";
    if (phase.from.empty()) return text;
    return text + fmt::format(", from the {} of {}, moments {}",
                              phase.starts_from_average ? "moving average" : "weights", phase.from,
                              phase.keeps_moments ? "kept" : "started anew");
  }

  PhaseRecord finished(const Phase& phase) const {
    const auto last_of = [&](const std::string& name) { return list_checkpoints(place(name) / "checkpoints"); };
    const auto saved = last_of(phase.name);
    check(!saved.empty(), ErrorKind::internal, "phase '{}' ended without a checkpoint", phase.name);
    const TrainState state = TrainState::load(saved.back());
    PhaseRecord record{phase.name, phase.kind, phase.from, phase.control_of, state.step, state.tokens};
    record.bits_per_byte = outcome_.last.bits_per_byte;
    record.checkpoint = saved.back().filename().string();
    record.model = manifest_hash(saved.back());
    if (!phase.from.empty()) record.parent = manifest_hash(last_of(phase.from).back());
    record.data = state.cursor.plan;
    return record;
  }

  const PhaseWalk& walk_;
  fs::path run_;
  FileLock lock_;
  PhaseOutcome outcome_;
};

}  // namespace

PhaseOutcome walk_phases(const PhaseWalk& walk) { return Walker(walk).go(); }

}  // namespace hadal
