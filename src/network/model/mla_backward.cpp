// The backward of latent attention: B in two halves, between which sums over tensor ranks travel, and W.
#include "model/attention_parts.h"
#include "model/mla.h"
#include "ops/pointwise.h"

namespace hadal {

// Writes dq and the keys' gradients.
void Mla::attend_backward(const Pass& pass, const Rows& rows, const Tensor& d_result, const Tensor& dq,
                          const KeyGradients& d_keys, Saved& saved) const {
  const Tensor& result = absorbed(pass) ? saved.z : saved.o;
  attention_backward_of_runs(
      pass.exec, rows, inputs(rows, saved), {result, saved.lse, d_result}, {d_keys.kv, d_keys.value, d_keys.rope_key},
      [&](const std::vector<Tensor>& d) {
        if (d[1]) return ops::AttentionGradients{dq, d[0], d[1], d[2]};
        return ops::AttentionGradients{dq, d[0].col_range(0, nope_), d[0].col_range(nope_, v_), d[2]};
      });
}

// Attention gives d q, d [k_nope | v] of every head and, summed over heads, d k_rope.
void Mla::backward_up_projected(const Pass& pass, const Rows& rows, const Tensor& d_rope_key, Saved& saved) const {
  saved.dkv = Tensor::empty(pass.exec, pass.dtype, {saved.kv.rows(), heads_ * (nope_ + v_)});
  attend_backward(pass, rows, saved.d_o, saved.dq, {saved.dkv, Tensor(), d_rope_key}, saved);
  saved.d_o.reset();
  saved.kv.reset();
  saved.q.reset();
}

// dz_h = do_h W_UV,h; attention then gives d q~_h and d latent twice, as the key and as the value that it was for all
// heads; both are added. dq_h = dq~_h W_UK,h^T. No key or value of a head is ever made.
void Mla::backward_absorbed(const Pass& pass, const Rows& rows, const Tensor& d_latent, const Tensor& d_rope_key,
                            Saved& saved) const {
  const int64_t n = saved.q.rows();
  const Tensor dz = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * rank_});
  by_head().values_backward(pass.exec, dz, saved.d_o);

  saved.dq_absorbed = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (rank_ + rope_)});
  const Tensor d_value = Tensor::empty(pass.exec, pass.dtype, {d_latent.rows(), rank_});
  attend_backward(pass, rows, dz, saved.dq_absorbed, {d_latent, d_value, d_rope_key}, saved);
  ops::add_to(pass.exec, d_latent, d_value);
  saved.q_absorbed.reset();

  by_head().absorb_backward(pass.exec, saved.dq, saved.dq_absorbed);
}

// d of latents and rotary keys, to their owners: d norm(c) = d kv W_kvb; absorbed d_latent has it. Where ranks do not
// share the rows it is written there, and nothing is under way.
RowsUnderWay Mla::start_keys_back(const Pass& pass, const Rows& rows, const Tensor& d_latent, const Tensor& d_rope_key,
                                  Saved& saved) const {
  const Exec& exec = pass.exec;
  if (!rows.split) {
    if (!absorbed(pass)) w_.kv_b.backward_input(exec, d_latent, saved.dkv);
    return {};
  }
  const Tensor d = Tensor::empty(exec, statistics_dtype(pass.dtype), {d_rope_key.rows(), rank_ + rope_});
  ops::copy(exec, d.col_range(rank_, rope_), d_rope_key);
  if (absorbed(pass)) ops::copy(exec, d.col_range(0, rank_), d_latent);
  const Activation dkv = absorbed(pass) ? Activation() : w_.kv_b.dgrad_operand(exec, saved.dkv);  // of all rows first
  return rows.split->start_reduce_in_parts(exec, Extent::keys, d, [&](const ops::RowRange& part) {
    if (absorbed(pass)) return;
    const Tensor of_part = d.row_range(part.begin, part.count).col_range(0, rank_);
    w_.kv_b.backward_input(exec, of_part, dkv.row_range(part.begin, part.count));
  });
}

// dq → d of what q_b read, to its owners: of the latent after its norm, or of x.
RowsUnderWay Mla::start_queries_back(const Pass& pass, const Rows& rows, Saved& saved) const {
  const DType dtype = rows.split ? statistics_dtype(pass.dtype) : pass.dtype;
  const Tensor d = Tensor::empty(pass.exec, dtype, {saved.dq.rows(), w_.q_b.in_features()});
  const Activation dq = w_.q_b.dgrad_operand(pass.exec, saved.dq);  // of all rows first (Linear)
  return start_reduce_in_parts(pass.exec, rows.split, Extent::queries, d, [&](const ops::RowRange& part) {
    w_.q_b.backward_input(pass.exec, d.row_range(part.begin, part.count), dq.row_range(part.begin, part.count));
  });
}

// dy → do → attention → dq, d latent, d k_rope → rotated back (a rotation's transpose is its inverse) → norms → dx, the
// sum of what queries and the latent say. What W needs of these stays in `saved`; no gradient of a weight is touched.
// Gradients of keys and then of queries travel to their owners in parts, while others of them are made.
RowsUnderWay Mla::backward_input(const Pass& pass, const Rows& rows, const Tensor& dy, PartsUnderWay& sent,
                                 Saved& saved) const {
  const Exec& exec = pass.exec;
  saved.dy = dy;
  saved.d_o = output_backward(pass, rows, w_.o, sent, saved.dy);
  saved.dq = Tensor::empty(exec, pass.dtype, {saved.d_o.rows(), heads_ * (nope_ + rope_)});
  saved.dkv_a = Tensor::empty(exec, pass.dtype, {dy.rows(), rank_ + rope_});
  const int64_t n_keys = saved.latent.rows();
  GradientsBack back;  // up-projected, and where ranks share the rows, d latent is made on its way
  if (absorbed(pass) || !rows.split) back.d_latent = Tensor::empty(exec, pass.dtype, {n_keys, rank_});
  const Tensor d_rope_key =
      rows.split ? Tensor::empty(exec, pass.dtype, {n_keys, rope_}) : saved.dkv_a.col_range(rank_, rope_);
  if (absorbed(pass)) {
    backward_absorbed(pass, rows, back.d_latent, d_rope_key, saved);
  } else {
    backward_up_projected(pass, rows, d_rope_key, saved);
  }
  back.keys = start_keys_back(pass, rows, back.d_latent, d_rope_key, saved);
  rotate_queries(pass, rows, {0, saved.dq.rows()}, saved.dq, true);
  if (w_.q_a.weight || rows.split) back.queries = start_queries_back(pass, rows, saved);
  return RowsUnderWay([this, &pass, &saved, rows, back]() mutable { return end_backward(pass, rows, back, saved); });
}

Tensor Mla::end_backward(const Pass& pass, const Rows& rows, GradientsBack& back, Saved& saved) const {
  const Exec& exec = pass.exec;
  Tensor d_latent = back.d_latent;
  if (back.keys) {
    const Tensor own = back.keys.wait();
    d_latent = in_dtype(exec, own.col_range(0, rank_), pass.dtype);
    ops::copy(exec, saved.dkv_a.col_range(rank_, rope_), own.col_range(rank_, rope_));
  }
  rotate_key(pass, rows, saved.dkv_a, true);
  w_.kv_a_norm.backward_input(exec, saved.dkv_a.col_range(0, rank_), d_latent, saved.kv_norm, false);

  const int64_t n = saved.dkv_a.rows();
  const Tensor dx = Tensor::empty(exec, pass.dtype, {n, w_.kv_a.in_features()});
  w_.kv_a.backward_input(exec, dx, saved.dkv_a);
  if (!w_.q_a.weight) {
    if (back.queries) {
      ops::add_to(exec, dx, back.queries.wait());
    } else {
      w_.q_b.backward_input(exec, dx, saved.dq, ops::Write::add);
    }
    return dx;
  }
  saved.dq_latent = Tensor::empty(exec, pass.dtype, {n, w_.q_b.in_features()});
  const Tensor d_normed = in_dtype(exec, back.queries.wait(), pass.dtype);
  w_.q_a_norm.backward_input(exec, saved.dq_latent, d_normed, saved.q_norm, false);
  w_.q_a.backward_input(exec, dx, saved.dq_latent, ops::Write::add);
  return dx;
}

// dW = (gradient of its output)^T (its input) for each linear, from what backward_input left. Absorbed, kv_b's is made
// in two halves, from queries and from values: the whole of kv_b was never multiplied (nn/head_linear.h).
void Mla::backward_weight(const Pass& pass, const Tensor& x, Saved& saved) const {
  const Exec& exec = pass.exec;
  const Activation operand = one_input() ? w_.kv_a.recipe.wgrad_operand_x(exec, x) : x;
  w_.o.backward_weight(exec, saved.dy, saved.o);
  if (absorbed(pass)) {
    by_head().backward_weight(exec, {saved.q, saved.dq_absorbed, saved.d_o, saved.z});
  } else {
    w_.kv_b.backward_weight(exec, saved.dkv, saved.latent);
  }
  w_.kv_a_norm.backward_weight(exec, saved.kv_norm);
  w_.kv_a.backward_weight(exec, saved.dkv_a, operand);
  if (w_.q_a.weight) {
    w_.q_b.backward_weight(exec, saved.dq, saved.q_input);
    w_.q_a_norm.backward_weight(exec, saved.q_norm);
    w_.q_a.backward_weight(exec, saved.dq_latent, operand);
  } else {
    w_.q_b.backward_weight(exec, saved.dq, saved.q_input ? Activation(saved.q_input) : operand);
  }
  saved = Saved();
}

}  // namespace hadal
