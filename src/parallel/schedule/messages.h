// What ranks send each other. It follows from the lists: the rank of the next stage gets the activations of each F, the
// rank of the stage before the gradient of each B or Bi, unless it is the same rank; W sends nothing. A message is
// known by (kind, stage, micro-batch), so it may arrive in any order. (Of one kind, a rank takes another's messages in
// the order in which they were sent; activations and gradients may overtake each other.)
//
// A rank works in slots: one action, or the two of a pair. What a slot needs is received before it begins, and what it
// makes is sent when it has ended.
#pragma once
#include <optional>
#include <string>

#include "schedule/pipeline.h"

namespace hadal {

enum class MessageKind : uint8_t { activation, gradient };

struct PipelineMessage {
  MessageKind kind = MessageKind::activation;
  int64_t stage = 0;  // that made it
  int64_t micro_batch = 0;
  int64_t from = 0, to = 0;  // ranks
  bool operator==(const PipelineMessage&) const = default;
};

std::string message_text(const PipelineMessage& message);  // "the activations of stage 2, micro-batch 5"
// Where its contents count among those of the whole step, 0 <= index < 2 x stages x micro-batches.
size_t message_index(const Pipeline& pipeline, const PipelineMessage& message);

// Nothing where the action begins or ends the model, or the neighbouring stage is on the same rank.
std::optional<PipelineMessage> received_by(const Pipeline& pipeline, const Action& action);
std::optional<PipelineMessage> sent_by(const Pipeline& pipeline, const Action& action);

struct Slot {
  size_t first = 0, count = 1;  // actions of the rank's list
  std::vector<PipelineMessage> receives, sends;
};
using Slots = std::vector<Slot>;

std::vector<Slots> slots_of(const PipelinePlan& plan);  // of every rank

}  // namespace hadal
