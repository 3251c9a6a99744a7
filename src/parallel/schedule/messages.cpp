#include "schedule/messages.h"

#include <fmt/format.h>

namespace hadal {
namespace {

// The message over the border between two neighbouring stages, made by the first of them that is named.
std::optional<PipelineMessage> over_border(const Pipeline& p, MessageKind kind, int64_t from, int64_t to,
                                           int64_t micro_batch) {
  if (from < 0 || to < 0 || from >= p.n_stages() || to >= p.n_stages()) return std::nullopt;
  const PipelineMessage message{kind, from, micro_batch, p.rank(from, micro_batch), p.rank(to, micro_batch)};
  if (message.from == message.to) return std::nullopt;
  return message;
}

}  // namespace

std::string message_text(const PipelineMessage& message) {
  return fmt::format("the {} of stage {}, micro-batch {}",
                     message.kind == MessageKind::activation ? "activations" : "gradient", message.stage,
                     message.micro_batch);
}

size_t message_index(const Pipeline& p, const PipelineMessage& message) {
  return size_t((int64_t(message.kind) * p.n_stages() + message.stage) * p.n_micro_batches + message.micro_batch);
}

std::optional<PipelineMessage> received_by(const Pipeline& p, const Action& a) {
  if (a.kind == ActionKind::backward_weight) return std::nullopt;
  if (a.kind == ActionKind::forward)
    return over_border(p, MessageKind::activation, a.stage - 1, a.stage, a.micro_batch);
  return over_border(p, MessageKind::gradient, a.stage + 1, a.stage, a.micro_batch);
}

std::optional<PipelineMessage> sent_by(const Pipeline& p, const Action& a) {
  if (a.kind == ActionKind::backward_weight) return std::nullopt;
  if (a.kind == ActionKind::forward)
    return over_border(p, MessageKind::activation, a.stage, a.stage + 1, a.micro_batch);
  return over_border(p, MessageKind::gradient, a.stage, a.stage - 1, a.micro_batch);
}

std::vector<Slots> slots_of(const PipelinePlan& plan) {
  std::vector<Slots> ranks;
  for (const Actions& list : plan.ranks) {
    Slots slots;
    for (size_t i = 0; i < list.size();) {
      Slot slot{.first = i};
      if (list[i].overlaps_next && i + 1 < list.size()) slot.count = 2;
      for (const size_t end = i + slot.count; i < end; ++i) {
        if (const auto message = received_by(plan.pipeline, list[i])) slot.receives.push_back(*message);
        if (const auto message = sent_by(plan.pipeline, list[i])) slot.sends.push_back(*message);
      }
      slots.push_back(std::move(slot));
    }
    ranks.push_back(std::move(slots));
  }
  return ranks;
}

}  // namespace hadal
