#include "schedule/check_plan.h"

#include "base/error.h"
#include "schedule/list_text.h"

namespace hadal {
namespace {

std::string named(const Pipeline& p, const Action& a, size_t rank) {
  return fmt::format("rank {}: {} (stage {}, micro-batch {})", rank, action_text(p, a), a.stage, a.micro_batch);
}

void check_place(const Pipeline& p, const Action& a, size_t rank) {
  if (a.stage < 0 || a.stage >= p.n_stages() || a.micro_batch < 0 || a.micro_batch >= p.n_micro_batches)
    fail(ErrorKind::internal, "rank {}: an action of stage {}, micro-batch {}; there are {} and {}", rank, a.stage,
         a.micro_batch, p.n_stages(), p.n_micro_batches);
  const int64_t direction = p.direction(a.stage, a.micro_batch), holder = p.rank(a.stage, a.micro_batch);
  if (a.direction != direction)
    fail(ErrorKind::internal, "{} goes in direction {}; its micro-batch travels in direction {}", named(p, a, rank),
         a.direction, direction);
  if (holder != int64_t(rank)) fail(ErrorKind::internal, "{} belongs to rank {}", named(p, a, rank), holder);
}

void check_pair(const Pipeline& p, const Actions& list, size_t i, size_t rank) {
  if (!list[i].overlaps_next) return;
  const bool fits = list[i].kind == ActionKind::forward && i + 1 < list.size() &&
                    list[i + 1].kind == ActionKind::backward && list[i + 1].micro_batch != list[i].micro_batch;
  if (!fits)
    fail(ErrorKind::internal, "{} is marked as the first of a pair, and no B of another micro-batch follows it",
         named(p, list[i], rank));
}

// What has been done for each (stage, micro-batch), and by the action at which place of its rank's list.
struct Progress {
  bool forward = false, input = false, weight = false;
  size_t forward_at = 0, input_at = 0;
};

class Lists {
 public:
  explicit Lists(const Pipeline& p) : p_(p), of_(size_t(p.n_stages() * p.n_micro_batches)) {}

  Progress& of(int64_t stage, int64_t m) { return of_[size_t(stage * p_.n_micro_batches + m)]; }

  void take(const Action& a, size_t place, size_t rank) {
    Progress& done = of(a.stage, a.micro_batch);
    const bool f = a.kind == ActionKind::forward, w = a.kind == ActionKind::backward_weight;
    check(f || done.forward, ErrorKind::internal, "{} has no F before it", named(p_, a, rank));
    check(!w || done.input, ErrorKind::internal, "{} has no Bi before it", named(p_, a, rank));
    check(!(f   ? done.forward
            : w ? done.weight
                : done.input),
          ErrorKind::internal, "{} stands twice in the list", named(p_, a, rank));
    if (f)
      done.forward = true, done.forward_at = place;
    else if (w)
      done.weight = true;
    else
      done.input = true, done.weight = a.kind == ActionKind::backward, done.input_at = place;
  }

  void check_whole(int64_t stage, int64_t m) {
    const Progress& done = of(stage, m);
    const char* missing = !done.forward ? "F" : !done.input ? "B" : !done.weight ? "W" : nullptr;
    if (missing != nullptr)
      fail(ErrorKind::internal, "rank {}: stage {} has no {} of micro-batch {}", p_.rank(stage, m), stage, missing, m);
    if (stage == 0 || p_.rank(stage - 1, m) != p_.rank(stage, m)) return;
    const Progress& before = of(stage - 1, m);
    check(before.forward_at < done.forward_at && before.input_at > done.input_at, ErrorKind::internal,
          "rank {}: micro-batch {} goes through stages {} and {} in the wrong order", p_.rank(stage, m), m, stage - 1,
          stage);
  }

 private:
  const Pipeline& p_;
  std::vector<Progress> of_;
};

// Which rank sends, or receives, each message, by message_index; -1: none does.
std::vector<int64_t> doers(const Pipeline& p, const std::vector<Slots>& ranks, bool sends) {
  std::vector<int64_t> doer(size_t(2 * p.n_stages() * p.n_micro_batches), -1);
  const char* does = sends ? "sends" : "receives";
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const Slot& slot : ranks[rank]) {
      for (const PipelineMessage& m : sends ? slot.sends : slot.receives) {
        if ((sends ? m.from : m.to) != int64_t(rank))
          fail(ErrorKind::internal, "rank {} {} {}, which goes from rank {} to rank {}", rank, does, message_text(m),
               m.from, m.to);
        int64_t& who = doer[message_index(p, m)];
        if (who != -1) fail(ErrorKind::internal, "rank {} {} {} a second time", rank, does, message_text(m));
        who = int64_t(rank);
      }
    }
  }
  return doer;
}

void check_each_once(const Pipeline& p, const std::vector<Slots>& ranks) {
  const std::vector<int64_t> sender = doers(p, ranks, true), receiver = doers(p, ranks, false);
  for (const Slots& slots : ranks) {
    for (const Slot& slot : slots) {
      for (const PipelineMessage& m : slot.receives)
        if (sender[message_index(p, m)] != m.from)
          fail(ErrorKind::internal, "rank {} waits for {}, which rank {} never sends", m.to, message_text(m), m.from);
      for (const PipelineMessage& m : slot.sends)
        if (receiver[message_index(p, m)] != m.to)
          fail(ErrorKind::internal, "rank {} sends {}, which rank {} never receives", m.from, message_text(m), m.to);
    }
  }
}

// Ranks between slots: at place k a rank has begun to send what slot k - 1 made and to receive what slot k needs.
class Flow {
 public:
  Flow(const Pipeline& p, const std::vector<Slots>& ranks, Sending sending)
      : p_(p),
        ranks_(ranks),
        sending_(sending),
        place_(ranks.size(), 0),
        sent_(size_t(2 * p.n_stages() * p.n_micro_batches)),
        awaited_(sent_) {}

  // Until nothing moves. What was once possible stays possible, so the order of ranks here does not matter.
  void run() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) arrive(rank);
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t rank = 0; rank < ranks_.size(); ++rank) {
        while (place_[rank] <= ranks_[rank].size() && waits_for(rank) == nullptr) {
          ++place_[rank], moved = true;
          arrive(rank);
        }
      }
    }
    std::string stuck;
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (const PipelineMessage* m = waits_for(rank))
        stuck += fmt::format("{}rank {} at slot {} {} {}", stuck.empty() ? "" : "; ", rank, place_[rank],
                             m->from == int64_t(rank) ? "cannot end sending" : "waits for", message_text(*m));
    }
    check(stuck.empty(), ErrorKind::internal, "deadlock: {}", stuck);
  }

 private:
  void arrive(size_t rank) {
    const size_t at = place_[rank];
    if (at > 0 && at <= ranks_[rank].size()) {
      for (const PipelineMessage& m : ranks_[rank][at - 1].sends) sent_[message_index(p_, m)] = true;
    }
    if (at < ranks_[rank].size()) {
      for (const PipelineMessage& m : ranks_[rank][at].receives) awaited_[message_index(p_, m)] = true;
    }
  }

  const PipelineMessage* waits_for(size_t rank) const {
    const size_t at = place_[rank];
    const Slots& slots = ranks_[rank];
    if (at > 0 && at <= slots.size() && sending_ == Sending::rendezvous) {
      for (const PipelineMessage& m : slots[at - 1].sends)
        if (!awaited_[message_index(p_, m)]) return &m;
    }
    if (at < slots.size()) {
      for (const PipelineMessage& m : slots[at].receives)
        if (!sent_[message_index(p_, m)]) return &m;
    }
    return nullptr;
  }

  const Pipeline& p_;
  const std::vector<Slots>& ranks_;
  const Sending sending_;
  std::vector<size_t> place_;
  std::vector<bool> sent_, awaited_;  // by message_index
};

}  // namespace

void check_lists(const PipelinePlan& plan) {
  const Pipeline& p = plan.pipeline;
  check(int64_t(plan.ranks.size()) == p.n_ranks, ErrorKind::internal, "{} lists for {} ranks", plan.ranks.size(),
        p.n_ranks);
  Lists lists(p);
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const Actions& list = plan.ranks[rank];
    for (size_t i = 0; i < list.size(); ++i) {
      check_place(p, list[i], rank);
      check_pair(p, list, i, rank);
      lists.take(list[i], i, rank);
    }
  }
  for (int64_t stage = 0; stage < p.n_stages(); ++stage) {
    for (int64_t m = 0; m < p.n_micro_batches; ++m) lists.check_whole(stage, m);
  }
}

void check_messages(const Pipeline& pipeline, const std::vector<Slots>& ranks, Sending sending) {
  check_each_once(pipeline, ranks);
  Flow(pipeline, ranks, sending).run();
}

void check_plan(const PipelinePlan& plan) {
  check_pipeline(plan.pipeline);
  check_lists(plan);
  check_messages(plan.pipeline, slots_of(plan), Sending::buffered);
}

}  // namespace hadal
