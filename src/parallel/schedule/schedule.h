// Schedules are data: what a rank does with which micro-batch, in order, as one list. An executor runs a list, a
// simulator or a picture reads the same one. Arithmetic only: nothing here knows a tensor. Lists of one rank that holds
// the whole model are made here, those of pipelines in pipeline.h.
#pragma once
#include <cstdint>
#include <vector>

namespace hadal {

enum class ActionKind : uint8_t {
  forward,          // F
  backward,         // B: gradients of inputs and of weights, piece by piece
  backward_input,   // Bi: of inputs alone
  backward_weight,  // W: of weights, any time after the same micro-batch's Bi
};

struct Action {
  ActionKind kind = ActionKind::forward;
  int64_t stage = 0;           // of all stages of the model, the one with the embedding first
  int64_t micro_batch = 0;     // of all that the pipeline works on in a step, whichever way they travel
  int64_t direction = 0;       // which way its activations travel: 0 to the next rank, 1 to the one before
  bool overlaps_next = false;  // an F that runs together with the B behind it in the list: the pair F&B
  bool operator==(const Action&) const = default;
};
using Actions = std::vector<Action>;

// One rank with the whole model: F and B of each micro-batch in turn, so that one is under way at a time.
Actions one_stage(int64_t n_micro_batches);
// Validation, scoring, generation: F alone.
Actions forward_only(int64_t n_micro_batches);

}  // namespace hadal
