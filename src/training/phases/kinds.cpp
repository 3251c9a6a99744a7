// Defaults and checks of the kinds of phases.
#include "phases/kinds.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "optim/curves.h"

namespace hadal {
namespace {

using Defaults = std::vector<std::string>;

double last_learning_rate(const Config& config) {
  const int64_t steps = std::max<int64_t>(1, config.train.steps);
  return learning_rate(config.optim, steps, steps);
}

Defaults constant_learning_rate(double lr) {
  return {fmt::format("optim.lr={:.17g}", lr), "optim.lr_schedule=[{ shape = \"constant\", to = 1.0, until = 1.0 }]"};
}

// Weights keep the angles that they were trained under: a phase of any kind has the YaRN of the phase before, or brings
// the first one, which reaches from the length that was trained to the new one.
void check_yarn(const Phase& phase, const Phase* before) {
  if (!before) return;
  const YarnConfig &yarn = phase.config.model.yarn, &old = before->config.model.yarn;
  const int64_t length = phase.config.data.sequence_length, trained = before->config.data.sequence_length;
  if (old.factor > 1) {
    const bool same = yarn.factor == old.factor && yarn.original_positions == old.original_positions &&
                      yarn.beta_fast == old.beta_fast && yarn.beta_slow == old.beta_slow && yarn.mscale == old.mscale &&
                      yarn.mscale_all_dim == old.mscale_all_dim;
    check(same, ErrorKind::invalid,
          "model.yarn is not that of phase '{}', under which its weights were trained (factor {:g} of {} positions): "
          "every later phase keeps it; choose a factor for the longest context in the first extension",
          before->name, old.factor, old.original_positions);
  } else if (yarn.factor > 1) {
    check(yarn.original_positions == trained, ErrorKind::invalid,
          "model.yarn.original_positions = {} must be the length that was trained without YaRN, {} (phase '{}')",
          yarn.original_positions, trained, before->name);
  }
  check(yarn.factor == 1 || yarn.factor * double(yarn.original_positions) >= double(length), ErrorKind::invalid,
        "model.yarn.factor = {:g} times original_positions = {} does not reach data.sequence_length = {}: the factor "
        "must be at least {:g}",
        yarn.factor, yarn.original_positions, length, double(length) / double(yarn.original_positions));
}

void check_extension(const Phase& phase, const Phase* before) {
  check(before, ErrorKind::invalid, "kind = \"extend\", but there is no phase before it whose context it could extend");
  const int64_t length = phase.config.data.sequence_length, trained = before->config.data.sequence_length;
  check(length > trained, ErrorKind::invalid,
        "data.sequence_length = {} is no longer than the {} of phase '{}', which it extends", length, trained,
        before->name);
  check_yarn(phase, before);
}

void check_tuning(const Phase& phase, const Phase* before) {
  std::vector<std::string> texts;
  for (const SourceConfig& source : phase.config.data.sources) {
    if (source.format != SourceFormat::text) return check_yarn(phase, before);
    texts.push_back(source.name.empty() ? fmt::format("{}", fmt::join(source.paths, ", ")) : source.name);
  }
  check(texts.empty(), ErrorKind::invalid,
        "kind = \"sft\" is trained on dialogues, and its sources are plain text ({}): give one of them a format "
        "(alpaca, messages, sharegpt, prompt_completion), or make it kind = \"pretrain\"",
        fmt::join(texts, ", "));
  check_yarn(phase, before);
}

}  // namespace

std::vector<PhaseKind> training_kinds() {
  return {{"pretrain", "training as the configuration says", [](const Phase*) { return Defaults(); }, check_yarn},
          {"extend", "longer sequences, under YaRN where model.yarn says so",
           [](const Phase* before) {
             return before ? constant_learning_rate(last_learning_rate(before->config)) : Defaults();
           },
           check_extension},
          {"sft", "fine-tuning on dialogues, whose answers are trained",
           [](const Phase*) {
             return Defaults{"data.document_mask=document", "data.at_end=stop",    "data.fim_rate=0",
                             "train.bias_update_speed=0",   "train.batch_ramp=[]", "train.steps=0"};
           },
           check_tuning}};
}

}  // namespace hadal
