#include "kernels/cpu/attention_plan.h"

#include <algorithm>
#include <tuple>

#include "kernels/cpu/attention_layout.h"

namespace hadal::kernels {
namespace {

constexpr int64_t kPackedBytes = 768 * 1024;          // of packed queries and outputs per task: a second-level cache
constexpr int64_t kKeysToShare = 4 * kAttentionTile;  // fewer are not worth three calls of all threads
constexpr int64_t kMostRows = 512, kFewestRows = kAttentionTile;

bool multiplies_pairs(const Attention& a, Isa isa) { return isa == Isa::avx512_bf16 && a.q.dtype == DType::bf16; }

// Rows that share a key head: queries, or (query, head) pairs when all heads, or groups of them, share keys and values.
int64_t rows_per_query(const Attention& a) { return a.shares_k() && a.shares_v() ? a.n_heads : a.group; }

// How the forward is cut: `rows` of a task, and heads of keys where these are read directly.
struct Cut {
  int64_t rows, heads;
  bool pairs;

  int64_t heads_of(const Attention& a, const Segment& s) const {
    return attention_is_direct(a, s.n_q * rows_per_query(a), pairs) ? heads : 1;
  }
  int64_t tasks(const Attention& a) const {
    const int64_t group = rows_per_query(a), key_heads = a.n_heads / group;
    int64_t n = 0;
    for (int64_t i = 0; i < a.n_segments; ++i) {
      const Segment& s = a.segments[i];
      n += (s.n_q * group + rows - 1) / rows * ((key_heads + heads_of(a, s) - 1) / heads_of(a, s));
    }
    return n;
  }
};

// As many rows as profit from one packing of a key tile, as many heads as lie side by side; fewer when threads would go
// idle.
Cut forward_cut(const Attention& a, bool pairs) {
  const AttentionWidths w = attention_widths(a, false);
  int64_t rows = kPackedBytes / 4 / (w.ld_qk + w.ld_v_cols) / kAttentionTile * kAttentionTile;
  Cut cut{std::clamp(rows, kFewestRows, kMostRows), std::min(kDirectHeads, a.n_heads / rows_per_query(a)), pairs};
  const auto idle = [&] { return cut.tasks(a) < 2 * a.lane->n_threads(); };
  while (cut.heads > 1 && idle()) cut.heads = (cut.heads + 1) / 2;
  while (cut.rows > kFewestRows && idle()) cut.rows = std::max(kFewestRows, cut.rows / 2);
  return cut;
}

// The first and the number of the heads of group g.
struct HeadGroup {
  int64_t first, count;
};
HeadGroup head_group(const Attention& a, int64_t g, int64_t groups) {
  const int64_t first = a.n_heads * g / groups;
  return {first, a.n_heads * (g + 1) / groups - first};
}

int64_t bytes_of(const AttentionSpace& counted) { return attention_round_up(4 * counted.used, 64); }
int64_t bytes_of_tasks(int64_t n_tasks) { return attention_round_up(n_tasks * int64_t(sizeof(AttentionTask)), 64); }

}  // namespace

AttentionPlan::Needs AttentionPlan::forward_needs(const Attention& a, Isa isa) {
  const Cut cut = forward_cut(a, multiplies_pairs(a, isa));
  const int64_t group = rows_per_query(a);
  int64_t most_rows = 0;
  for (int64_t s = 0; s < a.n_segments; ++s)
    most_rows = std::max(most_rows, std::min(cut.rows, a.segments[s].n_q * group));
  AttentionSpace count;
  attention_forward_space(count, attention_widths(a, multiplies_pairs(a, isa)), most_rows);
  Needs needs{.n_tasks = cut.tasks(a), .worker_bytes = bytes_of(count)};
  int64_t keys = 0;
  for (int64_t s = 0; s < a.n_segments; ++s) keys = std::max(keys, a.segments[s].n_k);
  needs.together = needs.n_tasks < a.lane->n_threads() && keys >= kKeysToShare && most_rows <= kAttentionTile &&
                   a.values_are_keys && !multiplies_pairs(a, isa);
  if (needs.together) needs.partial_bytes = 4 * attention_together_words(most_rows, keys);
  return needs;
}

AttentionPlan::Needs AttentionPlan::backward_needs(const Attention& a, Isa isa) {
  const int64_t groups = attention_head_groups(a);
  int64_t most_rows = 0, keys = 0;
  for (int64_t s = 0; s < a.n_segments; ++s) {
    most_rows = std::max(most_rows, attention_buffer_rows(a.segments[s]));
    keys += a.segments[s].n_k;
  }
  AttentionSpace count;
  attention_backward_space(count, attention_widths(a, multiplies_pairs(a, isa)), most_rows);
  return {.n_tasks = a.n_segments * groups,
          .worker_bytes = bytes_of(count),
          .partial_bytes = 4 * groups * keys * attention_shared_columns(a)};
}

AttentionPlan::AttentionPlan(Lane& lane, const Needs& needs)
    : n_tasks(needs.n_tasks),
      worker_bytes(needs.worker_bytes),
      together(needs.together),
      space_(lane, bytes_of_tasks(needs.n_tasks) + lane.n_threads() * needs.worker_bytes + needs.partial_bytes) {
  tasks = reinterpret_cast<AttentionTask*>(space_.data);
  workers = space_.data + bytes_of_tasks(needs.n_tasks);
  partials = reinterpret_cast<float*>(workers + lane.n_threads() * needs.worker_bytes);
}

AttentionPlan::~AttentionPlan() = default;

void AttentionPlan::sort(AttentionTask* begin) {
  std::sort(begin, begin + n_tasks, [](const AttentionTask& x, const AttentionTask& y) {
    return std::tie(y.cost, x.segment, x.head, x.first_row) < std::tie(x.cost, y.segment, y.head, y.first_row);
  });
}

AttentionPlan::AttentionPlan(const Attention& a, Isa isa) : AttentionPlan(*a.lane, forward_needs(a, isa)) {
  const Cut cut = forward_cut(a, multiplies_pairs(a, isa));
  const int64_t group = rows_per_query(a);
  AttentionTask* const begin = reinterpret_cast<AttentionTask*>(space_.data);
  AttentionTask* task = begin;
  for (int64_t s = 0; s < a.n_segments; ++s) {
    const Segment& segment = a.segments[s];
    const int64_t step = group * cut.heads_of(a, segment);
    for (int64_t head = 0; head < a.n_heads; head += step) {
      const int64_t times = std::min(step, a.n_heads - head) / group;
      for (int64_t row = 0; row < segment.n_q * group; row += cut.rows) {
        const int64_t n = std::min(cut.rows, segment.n_q * group - row);
        const double keys = double(segment.n_k - segment.n_q) + double(row + n) / double(group);
        *task++ = {s, head, group, row, n, times, double(times * (n + 32)) * keys};
      }
    }
  }
  sort(begin);
}

AttentionPlan::AttentionPlan(const AttentionBackward& b, Isa isa)
    : AttentionPlan(*b.forward.lane, backward_needs(b.forward, isa)) {
  const Attention& a = b.forward;
  const int64_t groups = attention_head_groups(a);
  AttentionTask* const begin = reinterpret_cast<AttentionTask*>(space_.data);
  AttentionTask* task = begin;
  for (int64_t s = 0; s < a.n_segments; ++s) {
    const Segment& segment = a.segments[s];
    for (int64_t g = 0; g < groups; ++g) {
      const auto [first, n] = head_group(a, g, groups);
      *task++ = {s, first, n, 0, segment.n_q, 1, double(n) * double(segment.n_q + 32) * double(segment.n_k)};
    }
  }
  sort(begin);
}

}  // namespace hadal::kernels
