#include "model/executor.h"

#include <map>

#include "base/error.h"
#include "comm/doing.h"
#include "comm/group.h"
#include "model/overlap.h"
#include "model/timeline.h"
#include "schedule/messages.h"

namespace hadal {
namespace {

using Place = std::pair<int64_t, int64_t>;  // stage, micro-batch

// What is to come at each place: its flight may go after the last of it.
std::map<Place, int64_t> actions_of_each(const Actions& actions, int64_t n_batches, bool keep) {
  std::map<Place, std::vector<ActionKind>> of;
  for (const Action& action : actions) {
    check(action.micro_batch >= 0 && action.micro_batch < n_batches, ErrorKind::internal,
          "an action of micro-batch {} among {}", action.micro_batch, n_batches);
    of[{action.stage, action.micro_batch}].push_back(action.kind);
  }
  using enum ActionKind;
  using Kinds = std::vector<ActionKind>;
  std::map<Place, int64_t> count;
  for (const auto& [place, kinds] : of) {
    const bool whole =
        keep ? kinds == Kinds{forward, backward} || kinds == Kinds{forward, backward_input, backward_weight}
             : kinds == Kinds{forward};
    check(whole, ErrorKind::internal, "micro-batch {} has {} actions at stage {}, which are not F and then {}",
          place.second, kinds.size(), place.first, keep ? "B, or Bi and W" : "nothing");
    count[place] = int64_t(kinds.size());
  }
  return count;
}

const char* letters(ActionKind kind) {
  switch (kind) {
    case ActionKind::forward: return "F";
    case ActionKind::backward: return "B";
    case ActionKind::backward_input: return "Bi";
    case ActionKind::backward_weight: break;
  }
  return "W";
}

Share share_of(const Tensor& tensor) {
  if (!tensor || tensor.count() == 0) return {};  // a micro-batch of no rows
  return {{static_cast<std::byte*>(tensor.raw()), size_t(tensor.bytes())}};
}

class Run {
 public:
  Run(const HeldStages& stages, const Pass& pass, std::span<const MicroBatch> batches, const FlightHooks& hooks,
      const PipelineLinks* links)
      : stages_(stages), pass_(pass), batches_(batches), hooks_(hooks), links_(links), sums_(batches.size()) {}

  void run(const Action& action, bool last) {
    tell(action);
    Flight& flight = begin(action);
    const Stage& stage = stage_of(action);
    receive(action, flight);
    switch (action.kind) {
      case ActionKind::forward: stage.forward(pass_, flight); break;
      case ActionKind::backward: stage.backward(pass_, flight); break;
      case ActionKind::backward_input: stage.backward_input(pass_, flight); break;
      case ActionKind::backward_weight: stage.backward_weight(pass_, flight); break;
    }
    end(action, flight, last);
  }

  // F of one micro-batch and B of another, piece by piece in turns. Both ends of the slot are common: what they need
  // has come before, what they made leaves after.
  void run_pair(const Action& f, const Action& b, bool last) {
    Flight &forward = begin(f), &backward = begin(b);
    tell(f);
    receive(f, forward);
    tell(b);
    receive(b, backward);
    hadal::run_pair(pass_, {stage_of(f), forward, [&] { tell(f); }}, {stage_of(b), backward, [&] { tell(b); }});
    end(f, forward, false);
    end(b, backward, last);
  }

  LossSums total() const {
    LossSums total;
    for (const LossSums& part : sums_) total.merge(part);
    return total;
  }

 private:
  const Stage& stage_of(const Action& action) const {
    for (const auto& [number, stage] : stages_)
      if (number == action.stage) return *stage;
    fail(ErrorKind::internal, "an action of stage {}, which this rank does not hold", action.stage);
  }

  Flight& begin(const Action& action) {
    std::unique_ptr<Flight>& flight = flights_[{action.stage, action.micro_batch}];
    if (!is_forward(action)) return *flight;
    FlightSizes sizes = stage_of(action).flight_sizes();
    if (pass_.generates >= 0) sizes.n_mtp = 0;
    flight = std::make_unique<Flight>(pass_.exec, batches_[size_t(action.micro_batch)], sizes, pass_.partners);
    flight->stage = action.stage;
    flight->micro_batch = action.micro_batch;
    if (hooks_.begin) hooks_.begin(*flight, action.micro_batch);
    return *flight;
  }

  void end(const Action& action, Flight& flight, bool last) {
    send(action, flight);
    if (is_forward(action)) {
      sums_[size_t(action.micro_batch)].merge(flight.sums());
      if (hooks_.after_forward) hooks_.after_forward(flight, action.micro_batch);
    }
    if (last) flights_.erase({action.stage, action.micro_batch});
  }

  // The state of the main stream from the stage before, or its gradient from the stage behind: from another rank, or
  // from this one, which has left it here.
  void receive(const Action& action, Flight& flight) {
    if (!links_ || action.kind == ActionKind::backward_weight || ends_model(action, true)) return;
    Tensor& h = flight.streams[0].h;
    const auto message = received_by(links_->pipeline, action);
    if (!message) {
      const auto found = left_.find({is_forward(action), action.stage, action.micro_batch});
      check(found != left_.end(), ErrorKind::internal, "stage {} finds nothing of micro-batch {} from its neighbour",
            action.stage, action.micro_batch);
      h = std::move(found->second);
      left_.erase(found);
      return;
    }
    h = Tensor::empty(pass_.exec, pass_.dtype, {flight.streams[0].n_rows(), stage_of(action).hidden()});
    const double begin = pass_.timeline ? pass_.timeline->now() : 0;
    group_of(action).start_receive(int(message->from), pass_.dtype, share_of(h)).wait();
    if (pass_.timeline)
      pass_.timeline->events.push_back({.piece = "receive",
                                        .part = is_forward(action) ? 'F' : 'B',
                                        .stage = action.stage,
                                        .micro_batch = action.micro_batch,
                                        .traffic = true,
                                        .begin = begin,
                                        .end = pass_.timeline->now()});
  }

  void send(const Action& action, Flight& flight) {
    if (!links_ || action.kind == ActionKind::backward_weight || ends_model(action, false)) return;
    Tensor& h = flight.streams[0].h;
    if (const auto message = sent_by(links_->pipeline, action)) {
      group_of(action).send(int(message->to), pass_.dtype, share_of(h));
    } else {
      left_[{is_forward(action), action.stage + (is_forward(action) ? 1 : -1), action.micro_batch}] = h;
    }
    h.reset();
  }

  void tell(const Action& action) const {
    if (pass_.doing) pass_.doing->act(letters(action.kind), action.stage, action.micro_batch);
  }

  static bool is_forward(const Action& action) { return action.kind == ActionKind::forward; }
  // Nothing comes to (goes from) the first F and the last B, and the other way round.
  bool ends_model(const Action& action, bool receiving) const {
    const int64_t end = is_forward(action) == receiving ? 0 : links_->pipeline.n_stages() - 1;
    return action.stage == end;
  }
  Group& group_of(const Action& action) const { return is_forward(action) ? *links_->activations : *links_->gradients; }

  const HeldStages& stages_;
  const Pass& pass_;
  std::span<const MicroBatch> batches_;
  const FlightHooks& hooks_;
  const PipelineLinks* links_;
  std::map<Place, std::unique_ptr<Flight>> flights_;
  std::map<std::tuple<bool, int64_t, int64_t>, Tensor> left_;  // for F or B of a stage and a micro-batch
  std::vector<LossSums> sums_;                                 // by micro-batch
};

}  // namespace

LossSums execute(const Actions& actions, const HeldStages& stages, const Pass& pass,
                 std::span<const MicroBatch> batches, const FlightHooks& hooks, const PipelineLinks* links) {
  std::map<Place, int64_t> left = actions_of_each(actions, int64_t(batches.size()), pass.keep);
  Run run(stages, pass, batches, hooks, links);
  const auto is_last = [&](const Action& action) { return --left.at({action.stage, action.micro_batch}) == 0; };
  for (size_t i = 0; i < actions.size(); ++i) {
    const Action& action = actions[i];
    const bool last = is_last(action);
    if (action.overlaps_next && i + 1 < actions.size() && pass.keep) {
      const Action& next = actions[++i];
      check(action.kind == ActionKind::forward && next.kind == ActionKind::backward, ErrorKind::internal,
            "a pair of micro-batches {} and {} that is not F and B", action.micro_batch, next.micro_batch);
      run.run_pair(action, next, is_last(next));
    } else {
      run.run(action, last);
    }
  }
  if (pass.doing) pass.doing->action = "";
  return run.total();
}

}  // namespace hadal
