// GroupedAttention: Llama's attention, whose key/value heads G are those of all H query heads (MHA) or shared by groups
// of H / G of them (GQA). x [T, hidden] is normed; the output is added to y [T, hidden], or replaces it.
//   q = rope(W_q x), H heads;  k = rope(W_k x), v = W_v x, G heads;  all of d elements, rotated in interleaved pairs
//   o_h = softmax(q_h k_g^T / sqrt(d)) v_g, g = h / (H / G)
//   y = W_o o
// Keys and values of a row lie side by side, [k | v], and so does the cache keep them: 2 G d numbers per token. There
// is no latent: what recomputation of norms drops is their output, what q, k and v read, which the piece makes again.
//
// Where ranks share the rows (row_split.h), the normed hidden state of all of them is brought together: q, k, v and o
// hold this rank's heads, key/value heads with all query heads that share them. Every rank makes keys and values of all
// rows, queries of its tensor group's; gradients of x are summed up at the rows' owners.
#pragma once
#include "config/model_config.h"
#include "model/pass.h"
#include "model/piece_sizes.h"
#include "nn/kept.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/attention.h"

namespace hadal {

class GroupedAttention {
 public:
  struct Weights {
    Linear q, k, v, o;           // k and v have one recipe
    Kept output = Kept::values;  // o's input, for backward
  };
  struct Saved {         // queries Q, keys K: the same rows on one rank
    Tensor x, q_x;       // where ranks share the rows: of all of them; those of queries, where context ranks cut them
    Tensor q;            // [Q, H * d], rotated
    Tensor kv;           // [K, 2 * G * d], keys rotated
    Tensor o, lse;       // [Q, H * d], [Q, H]
    Activation kept_o;   // instead of o, from keep() to restore()
    Tensor dy, dq, dkv;  // from backward_input to backward_weight
  };

  GroupedAttention() = default;
  GroupedAttention(const ModelConfig& config, const Weights& weights, double scale);
  explicit operator bool() const { return w_.q.weight != nullptr; }

  void each_parameter(const ParameterVisitor& visit) const;
  // Bytes, as Mla has them.
  int64_t kept_bytes(const PieceSizes& sizes, Recompute recompute) const;
  int64_t restored_bytes(const PieceSizes& sizes) const;
  int64_t backward_bytes(const PieceSizes& sizes) const;
  int64_t waiting_bytes(const PieceSizes& sizes) const;

  void forward(const Pass& pass, const Rows& rows, const Tensor& y, const Tensor& x, ops::Write write,
               Saved& saved) const;
  void keep(const Pass& pass, Saved& saved) const;  // after forward: what backward reads and does not make again
  void restore(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const;
  bool is_cut() const { return w_.q.weight->box.size[0] < w_.q.weight->spec.shape[0]; }  // over tensor ranks
  // Gives dx [T, hidden], which waits for sums that are under way. `sent`: of dy, what was sent ahead.
  RowsUnderWay backward_input(const Pass& pass, const Rows& rows, const Tensor& dy, PartsUnderWay& sent,
                              Saved& saved) const;
  void backward_weight(const Pass& pass, const Tensor& x, Saved& saved) const;  // empties saved

 private:
  void project(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const;
  void rotate(const Pass& pass, const Rows& rows, const Tensor& q, const Tensor& kv, bool inverse) const;
  bool begin_attending(const Pass& pass, Saved& saved) const;  // whether its result is to be made
  ops::AttentionInputs inputs(const Rows& rows, const Saved& saved) const;
  bool one_input() const { return w_.q.recipe.same_x(w_.k.recipe); }  // codes of x made once
  Tensor keys(const Tensor& kv) const { return kv.col_range(0, kv_heads_ * d_); }
  Tensor values(const Tensor& kv) const { return kv.col_range(kv_heads_ * d_, kv_heads_ * d_); }
  int64_t gathered_bytes(const PieceSizes& sizes) const;

  Weights w_;
  int64_t heads_ = 0, kv_heads_ = 0, d_ = 0;  // this rank's
  double scale_ = 1;
};

}  // namespace hadal
