// Causal attention over segments without a stored score matrix (§1.3, both forms), forward and backward.
//   s_ij = (q_nope_i . k_nope_j + q_rope_i . k_rope_j) * scale  for j <= i inside a segment
//   p = softmax(s);  o_i = sum_j p_ij v_j
//   ds = p * (do . v - delta) with delta_i = do_i . o_i;  dq += scale ds k, dk += scale ds^T q, dv += p^T do
// Query rows are the last n_q of a segment's n_k positions. Heads of k and v lie *_head_stride apart; 0 = one head for
// all (absorbed form). Keys are taken in tiles of kAttentionTile, aligned to the position inside the segment, in
// ascending order; scores sum over d ascending in chunks of kAttentionChunk; so a row has the same bits whatever rows
// share its call. Gradients of what heads share are summed over heads in order: within kMaxHeadGroups fixed groups,
// then over the groups.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

inline constexpr int64_t kAttentionTile = 64;    // keys
inline constexpr int64_t kAttentionChunk = 128;  // elements of a head
inline constexpr int64_t kMaxHeadGroups = 8;

struct AttentionSegment {
  int64_t q_begin = 0, n_q = 0, k_begin = 0, n_k = 0;
};

// A unit of work that no other task shares sums with: rows first_row .. first_row+n_rows of one segment and heads
// head .. head+n_heads. Row r is query r / n_heads of head head + r % n_heads (backward: all queries, one head after
// another).
struct AttentionTask {
  int64_t segment = 0, head = 0, n_heads = 1, first_row = 0, n_rows = 0;
  double cost = 0;
};

struct Attention {
  Rows q;                  // [Tq, n_heads * (d_nope + d_rope)]
  Rows k_nope, k_rope, v;  // first element of key 0 of head 0; [Tk, d_rope]; like k_nope
  int64_t k_head_stride = 0, v_head_stride = 0;
  int64_t n_heads = 1, d_nope = 0, d_rope = 0, d_v = 0;
  double scale = 1;  // > 0
  Rows o;            // [Tq, n_heads * d_v]; written by forward
  Rows lse;          // [Tq, n_heads] f32 (f64 with f64): log sum of exponentials; written by forward
  const AttentionSegment* segments = nullptr;
  int64_t n_segments = 0;
  const AttentionTask* tasks = nullptr;  // from attention_plan; reference kernels do not need them
  int64_t n_tasks = 0;
  void* workspace = nullptr;  // 64-byte aligned
  int64_t worker_bytes = 0;   // of the workspace, per thread of the pool
  ThreadPool* pool = nullptr;

  int64_t d_qk() const { return d_nope + d_rope; }
  bool shares_k() const { return k_head_stride == 0 && n_heads > 1; }
  bool shares_v() const { return v_head_stride == 0 && n_heads > 1; }
};

struct AttentionBackward {
  Attention forward;  // as given to the forward, o and lse filled; its tasks and workspace are the backward's
  Rows d_o;           // like o
  Rows dq, dk_nope, dk_rope, dv;  // like the inputs, same head strides; overwritten for all rows of the segments
  void* partials = nullptr;       // [head groups, all keys of all segments, shared columns] f32, see AttentionPlan
};

// How a call is cut up, and what it needs. A function of the shapes, the instruction set and the number of threads;
// only the cut depends on the threads, never a result.
struct AttentionPlan {
  std::vector<AttentionTask> tasks;  // most expensive first
  int64_t worker_bytes = 0;          // workspace per thread
  int64_t partial_bytes = 0;         // backward
};
AttentionPlan attention_plan(const Attention& args, Isa isa);
AttentionPlan attention_backward_plan(const Attention& args, Isa isa);

// Backward: groups of heads whose sums over heads are taken together. Heads that share nothing but the rotary key: one
// each.
inline int64_t attention_head_groups(const Attention& a) {
  if (!a.shares_k() && !a.shares_v()) return a.n_heads;
  return a.n_heads < kMaxHeadGroups ? a.n_heads : kMaxHeadGroups;
}
// Columns of a row of partials: [rope | nope if shared | v if shared].
inline int64_t attention_shared_columns(const Attention& a) {
  return a.d_rope + (a.shares_k() ? a.d_nope : 0) + (a.shares_v() ? a.d_v : 0);
}

HADAL_DECLARE_KERNEL(void attention_forward(const Attention& args))
HADAL_DECLARE_KERNEL(void attention_backward(const AttentionBackward& args))

}  // namespace hadal::kernels
