// Causal attention over segments, tiled: no score matrix is stored; workspace grows linearly with the number of tokens.
// One kernel serves both forms of MLA (§1.3): up-projected (key/value heads = query heads) and absorbed (one key/value
// head, the latent, shared: head strides 0, value = latent). The rotary key is always shared by all heads. Of grouped
// heads (GQA) those of a group share a key/value head; backward is that of shared heads, once for each group.
//   score_ij = (q_nope_i . k_nope_j + q_rope_i . k_rope_j) * scale, j <= i inside the segment;  o_i =
//     softmax(score_i) v
// Bit contract: key tiles are aligned to the position inside the segment (document) and merged in index order; a row's
// result does not depend on the other rows, on tiles of queries or on threads. Softmax in FP32 (FP64 for f64).
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/segment.h"
#include "tensor/tensor.h"

namespace hadal::ops {

using hadal::Segment;
inline constexpr int64_t kKeyBlock = 64;  // keys: a tile, so that none crosses blocks

struct AttentionInputs {
  Tensor q;       // [Tq, H * (d_nope + d_rope)], each head [nope | rope], rope part already rotated
  Tensor k_nope;  // view whose first element is key 0 of head 0; rows row_stride() apart, heads k_head_stride apart
  Tensor k_rope;  // [Tk, d_rope], rotated; shared by all heads
  Tensor v;       // view like k_nope, heads v_head_stride apart
  int64_t k_head_stride = 0, v_head_stride = 0;  // 0 = one shared head (absorbed form)
  int64_t n_heads = 0, d_nope = 0, d_rope = 0, d_v = 0;
  // 0: what the strides say. Else key/value heads, of which head h reads number h / (n_heads / n_kv_heads). k_nope and
  // v show all of them, their strides apart, and there is no k_rope.
  int64_t n_kv_heads = 0;
  double scale = 1.0;
  bool values_are_keys = false;  // v is k_nope's first d_v columns: the same memory (absorbed form)
  // Empty, or F32 [Tk, ceil(d_nope / 128)]: keys as a cache in FP8 keeps them (§1.3; forward only). k_nope are E4M3
  // codes, 128 of them to one of these scales, powers of two; k_rope is BF16; values are keys, and q is F32 or BF16.
  Tensor k_scales;
  // Empty, or I32 [n]: keys lie in blocks of kKeyBlock rows, named here in the order of each segment, whose k_begin is
  // its first entry (a paged cache; forward only). On a device what it names is not checked.
  Tensor blocks;
  const std::vector<Segment>* segments = nullptr;
};

// o [Tq, H * d_v] in q's dtype; lse [Tq, H] f32 (f64 for f64): log of the sum of exponentials, needed by backward.
void attention_forward(const Exec& exec, const AttentionInputs& in, const Tensor& o, const Tensor& lse);

struct AttentionGradients {
  Tensor dq;  // like q
  Tensor dk_nope,
      dv;  // views with the same strides as k_nope and v (own buffers); shared heads: summed over heads in order
           // (of a group)
  Tensor dk_rope;  // [Tk, d_rope], summed over heads in order
};
// Overwrites all gradients of rows inside the segments. Rows in no segment are left alone.
void attention_backward(const Exec& exec, const AttentionInputs& in, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionGradients& out);

}  // namespace hadal::ops
