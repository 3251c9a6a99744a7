// The phases of a run on one axis of tokens.
#include <algorithm>

#include "arch/arch.h"
#include "base/table.h"
#include "base/text_format.h"
#include "checkpoint/phase_record.h"
#include "optim/curves.h"
#include "phases/phase_text.h"
#include "phases/phase_walk.h"
#include "train/plan.h"

namespace hadal {
namespace {

struct Planned {
  const Phase* phase;
  PhaseSize size;
};

std::vector<Planned> planned(const PhasedConfig& plan) {
  std::vector<Planned> all;
  for (const Phase& phase : plan.phases) all.push_back({&phase, phase_size(plan, phase)});
  return all;
}

std::string guessed(bool about, const std::string& value) { return (about ? "about " : "") + value; }

std::string tokens_of(const PhaseSize& size) {
  return size.tokens > 0 ? guessed(size.tokens_guessed, format_si(size.tokens)) : "-";
}

std::string flops_of(const Planned& one) {
  ModelConfig model = one.phase->config.model;
  model.vocab_size = one.size.vocab_size;
  const double flops = one.size.tokens * count_flops(model, one.phase->config.data.sequence_length).training_causal();
  return flops > 0 ? guessed(one.size.tokens_guessed || one.size.vocab_guessed, fmt::format("{:.3g}", flops)) : "-";
}

std::string sources_of(const Config& config) {
  std::string text;
  for (const SourceConfig& source : config.data.sources) {
    const std::string name = !source.name.empty() ? source.name : source.paths.empty() ? "?" : source.paths[0];
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

std::string table_of(const std::vector<Planned>& all) {
  Table table({"phase", "kind", "from", "steps", "tokens", "context", "learning rate", "FLOP", "sources"});
  for (const Planned& one : all) {
    const Config& c = one.phase->config;
    const auto rate = [&](int64_t step) { return learning_rate(c.optim, step, one.size.steps); };
    const bool by_epochs = c.train.steps == 0;
    const auto& yarn = c.model.yarn;
    table.add({one.phase->name, kind_in_words(one.phase->kind, one.phase->control_of), one.phase->from,
               by_epochs ? fmt::format("{} epochs", c.data.epochs) : format_count(c.train.steps), tokens_of(one.size),
               format_count(c.data.sequence_length) + (yarn.factor > 1 ? fmt::format(" (x {:g})", yarn.factor) : ""),
               fmt::format("{:.3g} to {:.3g}", rate(1), rate(one.size.steps)), flops_of(one), sources_of(c)});
  }
  return table.text() + "\n";
}

}  // namespace

std::string draw_phases(const PhasedConfig& plan, int64_t columns) {
  const std::vector<Planned> all = planned(plan);
  double total = 0, beside = 0;  // of controls, which are on no axis
  bool about = false;
  for (const Planned& one : all) {
    (one.phase->control_of.empty() ? total : beside) += one.size.tokens;
    about = about || one.size.tokens_guessed;
  }
  std::string out = table_of(all);
  // Every phase has a column at least, else its share of the tokens.
  struct Column {
    const Config* config;
    int64_t step, steps;
  };
  std::vector<Column> axis;
  std::string names(12, ' ');
  for (const Planned& one : all) {
    if (!one.phase->control_of.empty()) continue;
    const int64_t width = std::max<int64_t>(1, int64_t(double(columns) * one.size.tokens / std::max(1.0, total)));
    const int64_t steps = one.size.steps;
    for (int64_t i = 0; i < width; ++i)
      axis.push_back({&one.phase->config, width == 1 ? steps : 1 + i * (steps - 1) / (width - 1), steps});
    names += ("|" + one.phase->name).substr(0, size_t(width)) +
             std::string(size_t(std::max<int64_t>(0, width - 1 - int64_t(one.phase->name.size()))), ' ');
  }
  const auto drawn = [&](const char* title, const std::function<double(const Column&)>& value) {
    std::vector<double> values;
    for (const Column& column : axis) values.push_back(value(column));
    out += draw_values(title, values);
  };
  out += fmt::format("{} tokens in all (at most: packing may leave padding), a phase after the other{}:\n{}\n",
                     guessed(about, format_si(total)),
                     beside > 0 ? fmt::format("; {} more in controls", format_si(beside)) : "", names);
  drawn("learning rate", [](const Column& c) { return learning_rate(c.config->optim, c.step, c.steps); });
  drawn("batch (tokens)", [](const Column& c) {
    return double(batch_sequences(c.config->train, c.step) * c.config->data.sequence_length);
  });
  drawn("context", [](const Column& c) { return double(c.config->data.sequence_length); });
  return out;
}

}  // namespace hadal
