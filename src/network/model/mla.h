// Mla: multi-head latent attention (§1.3). x [T, hidden] is normed; the output is added to y [T, hidden], or replaces
// it.
//   q = q_b(norm(q_a x)) or q(x), heads [nope | rope];  [c_raw | k_rope] = kv_a x;  c = norm(c_raw)
//   rope on q_rope and k_rope
//   up-projected: [k_nope | v] per head = kv_b c;  o = attention(q, k, v)
//   absorbed:     q~_h = q_nope_h W_UK,h;  z = attention([q~ | q_rope], [c | k_rope], c);  o_h = z_h W_UV,h^T
//   y = o_proj(o)
// Where keys are in FP8 (Pass::cache), in the absorbed form only, attention reads codes of c, 128 to a scale, and
// k_rope in BF16: from a cache or without one (scoring), always what a cache keeps. So a key is the same to rows of its
// own step and of later ones.
//
// Steps: project (to latents), expand keys and queries (up-projections), attend, and the output product.
// Recompute::norms keeps the latents and the attention's result, drops what norms and up-projections made; ::all drops
// everything and starts again at project.
//
// Where ranks share the rows (row_split.h), project runs on own rows, and their normed latents are brought together,
// the hidden state never: those of the queries over tensor ranks, those of the keys, with the rotary key, over all.
// q_b, kv_b and o hold this rank's heads. What heads make of rows is summed up at the rows' owners: y over tensor
// ranks, gradients of latents over the ranks that read them. What recomputation dropped is brought together again.
// Direct queries have no latent: there x itself is gathered. All of it goes in parts: keys are made of those latents
// that are here; then queries go through q_b, attention and o part by part, each part's sums leaving at once.
#pragma once
#include <optional>

#include "config/model_config.h"
#include "model/pass.h"
#include "model/piece_sizes.h"
#include "nn/head_linear.h"
#include "nn/kept.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/attention.h"

namespace hadal {

class Mla {
 public:
  // q_a and q_a_norm stay empty for direct queries; q_b is then the query projection of x.
  struct Weights {
    Linear q_a, q_b, kv_a, kv_b, o;
    Norm q_a_norm, kv_a_norm;
    Kept output = Kept::values;  // o's input, for backward
  };
  struct Saved {            // own rows T, queries Q, keys K: all the same on one rank
    Tensor q_latent, kv_a;  // latents before their norms; kv_a [T, rank + rope] with the rotated key
    Norm::Saved q_norm, kv_norm;
    Tensor q_input;     // of all queries, what q_b reads: the latent after its norm; empty: x
    Activation latent;  // of all keys, after its norm
    Tensor rope_key;
    Tensor q;                                                // [Q, heads * (nope + rope)], rotated
    Tensor kv;                                               // up-projected: [K, heads * (nope + v)]
    Tensor q_absorbed;                                       // absorbed: [Q, heads * (rank + rope)]
    Tensor z;                                                // absorbed: [Q, heads * rank]
    Tensor o, lse;                                           // [Q, heads * v], [Q, heads]
    Activation kept_o;                                       // instead of o, from keep() to restore()
    Tensor dy, dq, dkv, dkv_a, dq_latent, d_o, dq_absorbed;  // from backward_input to backward_weight
  };

  Mla() = default;
  Mla(const ModelConfig& config, const Weights& weights, double scale);

  void each_parameter(const ParameterVisitor& visit) const;
  Parameter* kv_b() const { return w_.kv_b.weight; }
  Heads heads() const { return by_head().parts(); }  // of kv_b
  // Bytes of what `keep` leaves of a forward, and of what `restore` makes again.
  int64_t kept_bytes(const PieceSizes& sizes, Recompute recompute) const;
  int64_t restored_bytes(const PieceSizes& sizes) const;
  int64_t backward_bytes(const PieceSizes& sizes) const;  // on top, while B runs
  int64_t waiting_bytes(const PieceSizes& sizes) const;   // of what a later W reads, but for x and dy

  void forward(const Pass& pass, const Rows& rows, const Tensor& y, const Tensor& x, ops::Write write,
               Saved& saved) const;
  void keep(const Pass& pass, Saved& saved) const;  // after forward: what backward reads and does not make again
  void restore(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const;
  bool is_cut() const { return w_.q_b.weight->box.size[0] < w_.q_b.weight->spec.shape[0]; }  // over tensor ranks
  // Gives dx [T, hidden], which waits for sums that are under way. `sent`: of dy, what was sent ahead.
  RowsUnderWay backward_input(const Pass& pass, const Rows& rows, const Tensor& dy, PartsUnderWay& sent,
                              Saved& saved) const;
  void backward_weight(const Pass& pass, const Tensor& x, Saved& saved) const;  // empties saved

 private:
  // Gradients of keys as attention writes them: up-projected kv [K, heads * (nope + v)]; absorbed the
  // latent's, as a key and as a value.
  struct KeyGradients {
    Tensor kv, value, rope_key;
  };
  struct Latents {  // under way to all who read them
    PartsUnderWay keys, queries;
  };
  struct Missing {  // of what queries are made to
    bool q, absorbed, scores, values;
  };
  struct Input {  // x, and as all linears that read it multiply it: codes made once, where their recipes agree
    Tensor values;
    Activation operand;
  };
  bool one_input() const;
  bool absorbs_together(const Pass& pass) const;  // in codes that tensor ranks make together
  Input input_of(const Pass& pass, const Tensor& x) const;
  void project(const Pass& pass, const Rows& rows, const Input& x, Saved& saved) const;
  Latents start_latents(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const;
  std::optional<Tensor> own_queries(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const;
  PartsUnderWay start_keys(const Pass& pass, const Rows& rows, Saved& saved) const;
  void expand_keys(const Pass& pass, PartsUnderWay& keys, Saved& saved) const;
  Missing begin_queries(const Pass& pass, const Rows& rows, const Input& x, Saved& saved) const;
  void expand_queries(const Pass& pass, const Rows& rows, const Input& x, const ops::RowRange& part,
                      const Missing& missing, PartsUnderWay& queries, Saved& saved) const;
  void attend(const Pass& pass, const Rows& rows, const ops::RowRange& part, const Missing& missing,
              Saved& saved) const;
  void append_to_cache(const Pass& pass, const Rows& rows, const Saved& saved) const;
  ops::AttentionInputs inputs(const Rows& rows, const Saved& saved) const;
  void rotate_queries(const Pass& pass, const Rows& rows, const ops::RowRange& part, const Tensor& q,
                      bool inverse) const;
  void rotate_key(const Pass& pass, const Rows& rows, const Tensor& kv_a, bool inverse) const;
  // d_latent and d_rope_key: of all keys, overwritten; up-projected d_latent is made of saved.dkv, then.
  void backward_up_projected(const Pass& pass, const Rows& rows, const Tensor& d_rope_key, Saved& saved) const;
  void backward_absorbed(const Pass& pass, const Rows& rows, const Tensor& d_latent, const Tensor& d_rope_key,
                         Saved& saved) const;
  void attend_backward(const Pass& pass, const Rows& rows, const Tensor& d_result, const Tensor& dq,
                       const KeyGradients& d_keys, Saved& saved) const;
  RowsUnderWay start_keys_back(const Pass& pass, const Rows& rows, const Tensor& d_latent, const Tensor& d_rope_key,
                               Saved& saved) const;
  struct GradientsBack {  // on their way to the rows' owners; or d_latent that is here
    Tensor d_latent;
    RowsUnderWay keys, queries;
  };
  Tensor end_backward(const Pass& pass, const Rows& rows, GradientsBack& back, Saved& saved) const;
  RowsUnderWay start_queries_back(const Pass& pass, const Rows& rows, Saved& saved) const;
  bool absorbed(const Pass& pass) const { return pass.form == AttentionForm::absorbed; }

  int64_t restored_bytes_once(const PieceSizes& sizes) const;
  int64_t saved_by_codes(const PieceSizes& sizes) const;
  HeadLinear by_head() const { return {w_.kv_b, heads_, nope_, rope_, v_, rank_}; }

  Weights w_;
  int64_t heads_ = 0, nope_ = 0, rope_ = 0, v_ = 0, rank_ = 0;
  double scale_ = 1;
};

}  // namespace hadal
