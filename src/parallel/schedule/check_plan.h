// The proof that a plan can be run: lists that are whole, messages that meet, no deadlock.
//
// Ranks wait for what they receive. Since messages are known by their names and not by their order, what a rank can do
// next depends only on what others have done so far, never on which message came first: one run that comes to its end
// shows that every delivery order does. (Program order and messages together form a graph without a circle.)
#pragma once
#include "schedule/messages.h"

namespace hadal {

enum class Sending : uint8_t {
  buffered,    // a send ends at once, and the transport keeps the message
  rendezvous,  // it ends when the receiver waits for it; a slot's sends and the next one's receives are one batch
};

// Every (stage, micro-batch) has, on the rank that holds it, one F and later one B, or a Bi and later a W; actions go
// the way that their stage and micro-batch say; pairs are an F and a B of another micro-batch; neighbouring stages of
// one rank are worked on in the model's order. Throws internal and names rank, action and what is missing or wrong.
void check_lists(const PipelinePlan& plan);

// Every send has its receive and the other way round, once, and no rank waits for ever. Throws internal and names the
// message, or what each of the ranks waits for.
void check_messages(const Pipeline& pipeline, const std::vector<Slots>& ranks, Sending sending);

// All of this, with buffered sends. (1f1b and zb1p also come to their end with rendezvous. Of the others neighbours
// begin to send to each other before either waits for a message: they need a transport that keeps messages, or receives
// that are under way long before their slot.)
void check_plan(const PipelinePlan& plan);

}  // namespace hadal
