// What ranks send each other in a training step, in bytes, before anything is allocated. With R rows of a rank's own
// (of the micro-batches that it works on in a step), H the hidden size, e bytes of a number of the model and w of a
// wide one (FP32, FP64), P the rows of the receiver:
//
//   gradients  to each other holder of a parameter's box: w x the elements that this one owns (optim/sharding.h)
//   values     to each other holder: the bytes of the elements that the sender owns
//   pipeline   to the rank of the next stage R H e, and as much back
//   context    to each other of the sequence, and of each attention: latents of keys R (kv_lora_rank + rope) e, their
//              gradients P (kv_lora_rank + rope) w
//   tensor     to each other of the group: of each attention latents of queries R q_lora_rank e (R H e without) and of
//              keys, of all context ranks, as above; dy R H e; sums of parts P H w and P q_lora_rank w; of a dense FFN
//              and of the head rows R H e, sums P H w (FFN: both ways); of an embedding R H e and P H e; of each row
//              that has a target (all but a document's last) four wide numbers. Llama's attention gathers R H e for
//              keys and queries alike
//   experts    of each token to each rank that it visits: forward its row (H e), a weight and an id for each expert
//              there, and a count; backward dy; back a row for each routing group there (for each expert, where groups
//              do not lie whole) both ways, and d weights. How many visit whom, the routers choose: what is said here
//              is the expectation of even routing (model/expert_visits.h). All else is exact.
//
// With recomputation what was gathered in F is gathered again; where W comes later, so are the numbers of logits. The
// balance loss adds up 8 bytes for each sequence and expert over tensor and context ranks. Losses, norms and signs of
// life, a few numbers of each rank, are not counted; nor are the maxima by which tensor ranks scale tiles of FP8 that
// they cut (tensor/shared_tiles.h): 4 bytes a row for each product that sums what is cut.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "layout/placement.h"

namespace hadal {

enum class TrafficKind : uint8_t { gradients, values, pipeline, experts, tensor, context };
constexpr TrafficKind kTrafficKinds[] = {TrafficKind::gradients, TrafficKind::values, TrafficKind::pipeline,
                                         TrafficKind::experts,   TrafficKind::tensor, TrafficKind::context};
const char* traffic_name(TrafficKind kind);

using SequenceShape = std::vector<int64_t>;  // lengths of its documents; of one where these are not masked
using MicroBatchShape = std::vector<SequenceShape>;
// The micro-batches of a whole batch of full sequences.
std::vector<MicroBatchShape> full_micro_batches(const Config& config);

// Calls `visit` for pairs of ranks that send something in a step over these micro-batches of the global batch; a pair
// may come several times. The precision must be chosen.
using TransferVisitor = std::function<void(TrafficKind kind, int64_t from, int64_t to, double bytes)>;
void each_transfer(const Config& config, const Placement& placement, const std::vector<MicroBatchShape>& micro_batches,
                   const TransferVisitor& visit);

}  // namespace hadal
