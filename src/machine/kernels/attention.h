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

#include "kernels/array.h"
#include "kernels/dispatch.h"
#include "kernels/segment.h"

namespace hadal::kernels {

inline constexpr int64_t kAttentionTile = 64;    // keys
inline constexpr int64_t kAttentionChunk = 128;  // elements of a head
inline constexpr int64_t kMaxHeadGroups = 8;

struct Attention {
  Rows q;                  // [Tq, n_heads * (d_nope + d_rope)]
  Rows k_nope, k_rope, v;  // first element of key 0 of head 0; [Tk, d_rope]; like k_nope
  int64_t k_head_stride = 0, v_head_stride = 0;
  int64_t n_heads = 1, d_nope = 0, d_rope = 0, d_v = 0;
  // Heads that read one head of keys and values (forward only; backward is called once for each of these): head h reads
  // number h / group.
  int64_t group = 1;
  double scale = 1;              // > 0
  bool values_are_keys = false;  // a value is the first d_v elements of its key (absorbed form): read once, not twice
  Rows o;                        // [Tq, n_heads * d_v]; written by forward
  Rows lse;                      // [Tq, n_heads] f32 (f64 with f64): log sum of exponentials; written by forward
  // Without data, or keys are those of a cache in FP8 (§1.3; forward only): k_nope are E4M3 codes, kAttentionChunk of
  // them to a scale here, F32 [Tk, chunks]; k_rope is BF16. An element is code * scale, which powers of two leave exact
  // in f32 and bf16. Values are keys.
  Rows k_scales;
  // Null, or what names the blocks of kAttentionTile rows in which keys lie (a paged cache, forward only): key j of a
  // segment is row j % kAttentionTile of block blocks[k_begin + j / kAttentionTile]. So no tile leaves its block.
  const int32_t* blocks = nullptr;
  const Segment* segments = nullptr;
  int64_t n_segments = 0;
  Lane* lane = nullptr;

  int64_t d_qk() const { return d_nope + d_rope; }
  bool in_codes() const { return k_scales.data != nullptr; }
  bool shares_k() const { return k_head_stride == 0 && n_heads > 1; }
  int64_t key_row(const Segment& s, int64_t j) const {
    return blocks ? blocks[s.k_begin + j / kAttentionTile] * kAttentionTile + j % kAttentionTile : s.k_begin + j;
  }
  bool shares_v() const { return v_head_stride == 0 && n_heads > 1; }
};

struct AttentionBackward {
  Attention forward;              // as given to the forward, o and lse filled
  Rows d_o;                       // like o
  Rows dq, dk_nope, dk_rope, dv;  // like the inputs, same head strides; overwritten for all rows of the segments
};

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

HADAL_DECLARE_KERNEL(attention_forward, Attention)
HADAL_DECLARE_KERNEL(attention_backward, AttentionBackward)

}  // namespace hadal::kernels
