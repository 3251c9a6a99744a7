// How attention is cut into tasks and how much workspace they take.
#include <algorithm>

#include "kernels/attention.h"
#include "kernels/attention_layout.h"

namespace hadal::kernels {
namespace {

constexpr int64_t kPackedBytes = 768 * 1024;  // of packed queries and outputs per task: a second-level cache
constexpr int64_t kMostRows = 512, kFewestRows = kAttentionTile;

bool multiplies_pairs(const Attention& a, Isa isa) { return isa == Isa::avx512_bf16 && a.q.num == Num::bf16; }

// Rows that share a key head: queries, or (query, head) pairs when all heads share keys and values.
int64_t rows_per_query(const Attention& a) { return a.shares_k() && a.shares_v() ? a.n_heads : 1; }

// Rows per task: as many as profit from one packing of a key tile, fewer when threads would go idle.
int64_t rows_per_task(const Attention& a) {
  const int64_t group = rows_per_query(a);
  const AttentionWidths w = attention_widths(a, false);
  int64_t rows = kPackedBytes / 4 / (w.ld_qk + w.ld_v_cols) / kAttentionTile * kAttentionTile;
  rows = std::clamp(rows, kFewestRows, kMostRows);
  auto n_tasks = [&] {
    int64_t n = 0;
    for (int64_t s = 0; s < a.n_segments; ++s) n += (a.segments[s].n_q * group + rows - 1) / rows * (a.n_heads / group);
    return n;
  };
  while (rows > kFewestRows && n_tasks() < 2 * a.pool->n_threads()) rows = std::max(kFewestRows, rows / 2);
  return rows;
}

void most_expensive_first(std::vector<AttentionTask>& tasks) {
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const AttentionTask& x, const AttentionTask& y) { return x.cost > y.cost; });
}

// The reference keeps one row of scores (forward) or one row of gradients per thread.
AttentionPlan reference_plan(int64_t numbers) {
  AttentionPlan plan;
  plan.worker_bytes = attention_round_up(8 * numbers, 64);
  return plan;
}

}  // namespace

AttentionPlan attention_plan(const Attention& a, Isa isa) {
  if (isa == Isa::reference) {
    int64_t longest = 0;
    for (int64_t s = 0; s < a.n_segments; ++s) longest = std::max(longest, a.segments[s].n_k);
    return reference_plan(longest + a.d_v);
  }
  AttentionPlan plan;
  const int64_t group = rows_per_query(a), chunk = rows_per_task(a);
  int64_t most_rows = 0;
  for (int64_t s = 0; s < a.n_segments; ++s) {
    const AttentionSegment& segment = a.segments[s];
    for (int64_t head = 0; head < a.n_heads; head += group) {
      for (int64_t row = 0; row < segment.n_q * group; row += chunk) {
        const int64_t n = std::min(chunk, segment.n_q * group - row);
        const double keys = double(segment.n_k - segment.n_q) + double(row + n) / double(group);
        plan.tasks.push_back({s, head, group, row, n, double(n + 32) * keys});
        most_rows = std::max(most_rows, n);
      }
    }
  }
  most_expensive_first(plan.tasks);
  AttentionSpace count;
  attention_forward_space(count, attention_widths(a, multiplies_pairs(a, isa)), most_rows);
  plan.worker_bytes = attention_round_up(4 * count.used, 64);
  return plan;
}

AttentionPlan attention_backward_plan(const Attention& a, Isa isa) {
  if (isa == Isa::reference) return reference_plan(a.d_qk() + a.d_v);
  AttentionPlan plan;
  const int64_t groups = attention_head_groups(a);
  int64_t most_rows = 0, keys = 0;
  for (int64_t s = 0; s < a.n_segments; ++s) {
    const AttentionSegment& segment = a.segments[s];
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = a.n_heads * g / groups, n = a.n_heads * (g + 1) / groups - first;
      plan.tasks.push_back({s, first, n, 0, segment.n_q, double(n) * double(segment.n_q + 32) * double(segment.n_k)});
    }
    most_rows = std::max(most_rows, attention_buffer_rows(segment));
    keys += segment.n_k;
  }
  most_expensive_first(plan.tasks);
  AttentionSpace count;
  attention_backward_space(count, attention_widths(a, multiplies_pairs(a, isa)), most_rows);
  plan.worker_bytes = attention_round_up(4 * count.used, 64);
  plan.partial_bytes = 4 * groups * keys * attention_shared_columns(a);
  return plan;
}

}  // namespace hadal::kernels
