// How attention is cut into tasks and how much workspace they take.
#include <algorithm>

#include "kernels/attention.h"

namespace hadal::kernels {
namespace {

int64_t longest_segment(const Attention& a) {
  int64_t longest = 0;
  for (int64_t s = 0; s < a.n_segments; ++s) longest = std::max(longest, a.segments[s].n_k);
  return longest;
}

int64_t whole_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

AttentionPlan attention_plan(const Attention& a, Isa isa) {
  AttentionPlan plan;
  plan.worker_bytes = whole_lines(8 * (longest_segment(a) + a.d_v));
  return plan;
}

AttentionPlan attention_backward_plan(const Attention& a, Isa isa) {
  AttentionPlan plan;
  plan.worker_bytes = whole_lines(8 * (a.d_qk() + a.d_v));
  return plan;
}

}  // namespace hadal::kernels
