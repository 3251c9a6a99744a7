#include "model/overlap.h"

#include <algorithm>

namespace hadal {
namespace {

class Half {
 public:
  Half(const Pass& pass, const HalfOfPair& half, const std::vector<PieceStep>& steps)
      : pass_(pass), half_(half), steps_(steps) {}

  bool is_done() const { return at_ == steps_.size(); }

  void take_turn(Half& other) {
    size_t end = at_;
    int64_t n_computing = 0;
    for (bool sent = false; end < steps_.size() && !sent; ++end) {
      n_computing += computes(steps_[end]);
      sent = steps_[end].starts_traffic();
    }
    run(end, n_computing - std::max<int64_t>(n_computing / 2, 1));  // something is left for the second hop
    other.pass_on();
    run(end, n_computing);
  }

 private:
  static bool computes(const PieceStep& step) { return step.piece->kind() == Piece::Kind::compute; }

  // Steps up to `end`, but so many compute pieces at most.
  void run(size_t end, int64_t n_computing) {
    if (half_.turn) half_.turn();
    for (; at_ < end && (n_computing > 0 || !computes(steps_[at_])); ++at_) {
      n_computing -= computes(steps_[at_]);
      half_.stage.run(steps_[at_], pass_, half_.flight);
    }
  }

  // Its rows, which have taken the first hop, take the second.
  void pass_on() {
    if (is_done() || !steps_[at_].passes_on()) return;
    if (half_.turn) half_.turn();
    half_.stage.run(steps_[at_++], pass_, half_.flight);
  }

  const Pass& pass_;
  const HalfOfPair& half_;
  const std::vector<PieceStep>& steps_;
  size_t at_ = 0;
};

}  // namespace

void run_pair(const Pass& pass, const HalfOfPair& forward, const HalfOfPair& backward) {
  Half f(pass, forward, forward.stage.forward_steps()), b(pass, backward, backward.stage.backward_steps());
  while (!f.is_done() || !b.is_done()) {
    b.take_turn(f);
    f.take_turn(b);
  }
}

}  // namespace hadal
