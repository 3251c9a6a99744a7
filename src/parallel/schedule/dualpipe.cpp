// DualPipe and its half DualPipeV: two streams of micro-batches meet in every rank, and in between an F of the one runs
// together with a B of the other.
#include <array>

#include "schedule/pipeline.h"

namespace hadal {
namespace {

// The list of one rank. Its two streams are told apart by 0 and 1: "own" is the one whose micro-batches enter at the
// nearer end of the pipeline (of a V: at the top).
class RankList {
 public:
  RankList(const Pipeline& pipeline, int64_t rank)
      : pipeline_(pipeline),
        stages_(pipeline.stages_of_rank(rank)),
        swapped_(pipeline.schedule == ScheduleKind::dualpipe && rank >= pipeline.n_ranks / 2) {}

  void f(int own) { add(ActionKind::forward, own, next_f_); }
  void b(int own) { add(ActionKind::backward, own, next_b_); }
  void bi(int own) {
    add(ActionKind::backward_input, own, next_b_);
    deferred_.push_back(list_.back());
  }
  void w() {  // first deferred, first done
    list_.push_back(deferred_.at(next_w_++));
    list_.back().kind = ActionKind::backward_weight;
  }
  void f_and_b(int own_f, int own_b) {
    f(own_f);
    list_.back().overlaps_next = true;
    b(own_b);
  }
  Actions take() { return std::move(list_); }

 private:
  void add(ActionKind kind, int own, std::array<int64_t, 2>& next) {
    const int64_t direction = swapped_ ? 1 - own : own, number = next[size_t(own)]++;
    const int64_t m = pipeline_.schedule == ScheduleKind::dualpipe ? 2 * number + direction : number;
    list_.push_back({kind, stages_[size_t(direction)], m, direction});
  }

  const Pipeline& pipeline_;
  const std::vector<int64_t> stages_;
  const bool swapped_;
  std::array<int64_t, 2> next_f_{}, next_b_{};
  size_t next_w_ = 0;
  Actions deferred_, list_;
};

// The eight steps of the report, for the rank at `place` of `half` ranks counted from the end where its own stream
// enters. `pairs` is how often step 4 repeats.
Actions eight_steps(RankList list, int64_t half, int64_t place, int64_t pairs) {
  const int64_t to_middle = half - 1 - place;
  const auto times = [](int64_t n, auto&& step) {
    for (int64_t i = 0; i < n; ++i) step(i);
  };
  times(2 * to_middle, [&](int64_t) { list.f(0); });
  times(place + 1, [&](int64_t) { list.f(0), list.f(1); });
  times(to_middle, [&](int64_t) { list.bi(1), list.w(), list.f(1); });
  times(pairs, [&](int64_t i) {
    // Apart, the first F of the middle ranks reaches the neighbour, which has nothing else to do, without a B's delay.
    if (i == 0 && to_middle == 0)
      list.f(0), list.b(1);
    else
      list.f_and_b(0, 1);
    list.f_and_b(1, 0);
  });
  times(to_middle, [&](int64_t) { list.b(1), list.f_and_b(1, 0); });
  // From the middle of this step on W is put off: the other ranks wait for the gradients of inputs.
  const int64_t switch_at = (place + 1) / 2;
  const bool before = place % 2 == 1;
  times(place + 1, [&](int64_t i) {
    const bool first = i > switch_at || (i == switch_at && before), second = i >= switch_at;
    first ? list.bi(1) : list.b(1);
    second ? list.bi(0) : list.b(0);
  });
  times(to_middle, [&](int64_t) { list.w(), list.bi(0); });
  times(place + 1, [&](int64_t) { list.w(); });
  return list.take();
}

}  // namespace

std::vector<Actions> dualpipe(const Pipeline& p) {
  const int64_t half = p.n_ranks / 2;
  std::vector<Actions> ranks;
  for (int64_t rank = 0; rank < p.n_ranks; ++rank) {
    const int64_t place = rank < half ? rank : p.n_ranks - 1 - rank;
    ranks.push_back(eight_steps(RankList(p, rank), half, place, p.n_micro_batches / 2 - p.n_ranks + place + 1));
  }
  return ranks;
}

std::vector<Actions> dualpipev(const Pipeline& p) {
  std::vector<Actions> ranks;
  for (int64_t rank = 0; rank < p.n_ranks; ++rank)
    ranks.push_back(eight_steps(RankList(p, rank), p.n_ranks, rank, p.n_micro_batches - 2 * p.n_ranks + rank + 1));
  return ranks;
}

}  // namespace hadal
