// Schedules whose micro-batches all enter at rank 0: 1F1B, interleaved 1F1B, ZB1P.
#include <algorithm>

#include "schedule/pipeline.h"

namespace hadal {

using enum ActionKind;

// Rank r runs P - 1 - r F before its first B, and so holds at most P - r micro-batches whatever their number.
std::vector<Actions> one_f_one_b(const Pipeline& p) {
  std::vector<Actions> ranks;
  for (int64_t rank = 0; rank < p.n_ranks; ++rank) {
    Actions list;
    const int64_t n = p.n_micro_batches, ahead = std::min(p.n_ranks - 1 - rank, n);
    for (int64_t m = 0; m < ahead; ++m) list.push_back({forward, rank, m});
    for (int64_t m = 0; m < n; ++m) {
      if (m + ahead < n) list.push_back({forward, rank, m + ahead});
      list.push_back({backward, rank, m});
    }
    ranks.push_back(std::move(list));
  }
  return ranks;
}

// Groups of P micro-batches go through chunk 0 of all ranks, then through chunk 1 and so on, and back from the last
// chunk to the first. Rank r is 2 (P - 1 - r) F ahead, a round trip to the last rank, and (v - 1) P for the chunks
// between.
std::vector<Actions> interleaved(const Pipeline& p) {
  const int64_t group = p.n_ranks * p.chunks, n = p.n_micro_batches * p.chunks;
  const auto action = [&](ActionKind kind, int64_t rank, int64_t i) {
    const int64_t nth = i % group / p.n_ranks, chunk = kind == forward ? nth : p.chunks - 1 - nth;
    return Action{kind, rank + chunk * p.n_ranks, i / group * p.n_ranks + i % p.n_ranks};
  };
  std::vector<Actions> ranks;
  for (int64_t rank = 0; rank < p.n_ranks; ++rank) {
    Actions list;
    const int64_t ahead = std::min(2 * (p.n_ranks - 1 - rank) + (p.chunks - 1) * p.n_ranks, n);
    for (int64_t i = 0; i < ahead; ++i) list.push_back(action(forward, rank, i));
    for (int64_t i = 0; i < n; ++i) {
      if (i + ahead < n) list.push_back(action(forward, rank, i + ahead));
      list.push_back(action(backward, rank, i));
    }
    ranks.push_back(std::move(list));
  }
  return ranks;
}

// Rank r fills the pipe with P - r F, then defers as many W as it has ranks before it: every rank holds P micro-batches
// at most, and what was deferred fills the end, where 1F1B waits for gradients.
std::vector<Actions> zb1p(const Pipeline& p) {
  std::vector<Actions> ranks;
  for (int64_t rank = 0; rank < p.n_ranks; ++rank) {
    Actions list;
    int64_t next_f = 0, next_bi = 0, next_w = 0;
    const auto f = [&] { list.push_back({forward, rank, next_f++}); };
    const auto bi = [&] { list.push_back({backward_input, rank, next_bi++}); };
    const auto w = [&] { list.push_back({backward_weight, rank, next_w++}); };
    const int64_t fill = std::min(p.n_ranks - rank, p.n_micro_batches), rest = p.n_micro_batches - fill;
    const int64_t deferred = std::min(rank, rest);
    for (int64_t i = 0; i < fill; ++i) f();
    for (int64_t i = 0; i < deferred; ++i) bi(), f();
    for (int64_t i = deferred; i < rest; ++i) bi(), w(), f();
    for (int64_t i = 0; i < fill; ++i) bi(), w();
    for (int64_t i = 0; i < deferred; ++i) w();
    ranks.push_back(std::move(list));
  }
  return ranks;
}

}  // namespace hadal
