#include "model/mla.h"

#include "ops/pointwise.h"

namespace hadal {

Mla::Mla(const ModelConfig& config, const Weights& weights, double scale)
    : w_(weights),
      heads_(config.n_heads),
      nope_(config.qk_nope_head_dim),
      rope_(config.qk_rope_head_dim),
      v_(config.v_head_dim),
      rank_(config.kv_lora_rank),
      scale_(scale) {}

void Mla::rotate(const Pass& pass, const Rows& rows, const Tensor& q, const Tensor& kv_a, bool inverse) const {
  ops::RopeArgs args;
  args.d_rope = rope_;
  args.table = pass.rope_table;
  args.positions = rows.positions;
  args.inverse = inverse;
  if (q) {
    args.x = q.col_range(nope_, rope_);
    args.n_heads = heads_;
    args.head_stride = nope_ + rope_;
    ops::rope(pass.exec, args);
  }
  if (kv_a) {
    args.x = kv_a.col_range(rank_, rope_);
    args.n_heads = 1;
    args.head_stride = 0;
    ops::rope(pass.exec, args);
  }
}

GemmRecipe Mla::input_recipe() const {
  const Linear& queries = w_.q_a.weight ? w_.q_a : w_.q_b;
  return queries.recipe == w_.kv_a.recipe ? queries.recipe : GemmRecipe();
}

// To the latents (§1.3): c_q = W_qa x, [c | k_rope] = W_kva x. The rotary key is one for all heads, is not normed (trap
// 12) and is rotated here, so that cache and attention read it as it lies.
void Mla::project(const Pass& pass, const Rows& rows, const Activation& x, Saved& saved) const {
  const int64_t n = x.rows();
  if (w_.q_a.weight) {
    saved.q_latent = Tensor::empty(pass.exec, pass.dtype, {n, w_.q_a.out_features()});
    w_.q_a.forward(pass.exec, saved.q_latent, x);
  }
  saved.kv_a = Tensor::empty(pass.exec, pass.dtype, {n, rank_ + rope_});
  w_.kv_a.forward(pass.exec, saved.kv_a, x);
  rotate(pass, rows, Tensor(), saved.kv_a, false);
}

// From the latents to heads: q = W_qb norm(c_q) with its rope part rotated, [k_nope | v] = W_kvb norm(c); absorbed,
// only the queries change. Makes what is missing, so forward and recomputation are one code.
void Mla::expand(const Pass& pass, const Rows& rows, const Activation& x, Saved& saved) const {
  const int64_t n = saved.kv_a.rows();
  if (w_.q_a.weight && !saved.q_normed)
    saved.q_normed = w_.q_a_norm.forward(pass.exec, saved.q_latent, saved.q_norm, w_.q_b.recipe);
  if (!saved.q) {
    saved.q = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (nope_ + rope_)});
    w_.q_b.forward(pass.exec, saved.q, w_.q_a.weight ? saved.q_normed : x);
    rotate(pass, rows, saved.q, Tensor(), false);
  }
  if (!saved.latent) saved.latent = w_.kv_a_norm.forward(pass.exec, saved.kv_a.col_range(0, rank_), saved.kv_norm);
  if (absorbed(pass)) {
    // q~_h = W_UK,h^T q_h once per query, instead of k_h = W_UK,h c once per key: scores are taken against the latent.
    if (!saved.q_absorbed) {
      saved.q_absorbed = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (rank_ + rope_)});
      by_head().absorb(pass.exec, saved.q_absorbed, saved.q);
    }
  } else if (!saved.kv) {
    saved.kv = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (nope_ + v_)});
    w_.kv_b.forward(pass.exec, saved.kv, saved.latent);
  }
}

void Mla::append_to_cache(const Pass& pass, const Rows& rows, const Saved& saved) const {
  const int64_t n = saved.kv_a.rows();
  ops::copy(pass.exec, rows.cache->latent.row_range(rows.cached, n), saved.latent);
  ops::copy(pass.exec, rows.cache->rope_key.row_range(rows.cached, n), saved.kv_a.col_range(rank_, rope_));
  if (!absorbed(pass)) ops::copy(pass.exec, rows.cache->kv.row_range(rows.cached, n), saved.kv);
}

ops::AttentionInputs Mla::inputs(const Rows& rows, const Saved& saved) const {
  const Tensor latent = rows.cache ? rows.cache->latent : saved.latent;
  ops::AttentionInputs in;
  in.k_rope = rows.cache ? rows.cache->rope_key : saved.kv_a.col_range(rank_, rope_);
  in.n_heads = heads_;
  in.d_rope = rope_;
  in.scale = scale_;
  in.segments = rows.segments;
  if (saved.q_absorbed) {
    in.q = saved.q_absorbed;
    in.k_nope = in.v = latent;
    in.d_nope = in.d_v = rank_;
    in.values_are_keys = true;
    return in;
  }
  const Tensor kv = rows.cache ? rows.cache->kv : saved.kv;
  in.q = saved.q;
  in.k_nope = kv.col_range(0, nope_);
  in.v = kv.col_range(nope_, v_);
  in.k_head_stride = in.v_head_stride = nope_ + v_;
  in.d_nope = nope_;
  in.d_v = v_;
  return in;
}

void Mla::attend(const Pass& pass, const Rows& rows, Saved& saved) const {
  const int64_t n = saved.q.rows();
  if (!saved.lse) {
    Tensor& result = absorbed(pass) ? saved.z : saved.o;
    result = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (absorbed(pass) ? rank_ : v_)});
    saved.lse = Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {n, heads_});
    ops::attention_forward(pass.exec, inputs(rows, saved), result, saved.lse);
  }
  if (!saved.o) {  // attention gave the mixed latents z_h; o_h = W_UV,h z_h
    saved.o = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * v_});
    by_head().values(pass.exec, saved.o, saved.z);
  }
}

void Mla::restore(const Pass& pass, const Rows& rows, const Activation& x, Saved& saved) const {
  if (!saved.kv_a) project(pass, rows, x, saved);
  expand(pass, rows, x, saved);
  attend(pass, rows, saved);
}

void Mla::forward(const Pass& pass, const Rows& rows, const Tensor& y, const Activation& x, ops::Write write,
                  Saved& saved) const {
  project(pass, rows, x, saved);
  expand(pass, rows, x, saved);
  if (rows.cache) append_to_cache(pass, rows, saved);
  attend(pass, rows, saved);
  w_.o.forward(pass.exec, y, saved.o, write);
}

void Mla::drop(Recompute recompute, Saved& saved) const {
  if (recompute == Recompute::all) saved = Saved();
  if (recompute != Recompute::norms) return;
  saved.q_normed.reset();
  saved.latent.reset();
  saved.kv.reset();
  saved.q_absorbed.reset();
  if (w_.q_a.weight) saved.q.reset();
  if (saved.z) saved.o.reset();
}

// Attention gives d q, d [k_nope | v] of every head and, summed over heads, d k_rope, which lands in its columns of
// dkv_a. d norm(c) = d kv W_kvb.
Tensor Mla::backward_up_projected(const Pass& pass, const Rows& rows, Saved& saved) const {
  saved.dkv = Tensor::empty(pass.exec, pass.dtype, {saved.kv.rows(), heads_ * (nope_ + v_)});
  const ops::AttentionGradients gradients{saved.dq, saved.dkv.col_range(0, nope_), saved.dkv.col_range(nope_, v_),
                                          saved.dkv_a.col_range(rank_, rope_)};
  ops::attention_backward(pass.exec, inputs(rows, saved), saved.o, saved.lse, saved.d_o, gradients);
  saved.d_o.reset();
  saved.kv.reset();
  saved.q.reset();
  const Tensor d_latent = Tensor::empty(pass.exec, pass.dtype, {saved.dkv.rows(), rank_});
  w_.kv_b.backward_input(pass.exec, d_latent, saved.dkv);
  return d_latent;
}

// dz_h = do_h W_UV,h; attention then gives d q~_h and d latent twice, as the key and as the value that it was for all
// heads; both are added. dq_h = dq~_h W_UK,h^T. No key or value of a head is ever made.
Tensor Mla::backward_absorbed(const Pass& pass, const Rows& rows, Saved& saved) const {
  const int64_t n = saved.q.rows();
  const Tensor dz = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * rank_});
  by_head().values_backward(pass.exec, dz, saved.d_o);

  saved.dq_absorbed = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (rank_ + rope_)});
  const Tensor d_latent = Tensor::empty(pass.exec, pass.dtype, {n, rank_});
  const Tensor d_value = Tensor::empty(pass.exec, pass.dtype, {n, rank_});
  const ops::AttentionGradients gradients{saved.dq_absorbed, d_latent, d_value, saved.dkv_a.col_range(rank_, rope_)};
  ops::attention_backward(pass.exec, inputs(rows, saved), saved.z, saved.lse, dz, gradients);
  ops::add_to(pass.exec, d_latent, d_value);
  saved.q_absorbed.reset();

  by_head().absorb_backward(pass.exec, saved.dq, saved.dq_absorbed);
  return d_latent;
}

// dy → do → attention → dq, d latent, d k_rope → rotated back (a rotation's transpose is its inverse) → norms → dx, the
// sum of what queries and the latent say. What W needs of these stays in `saved`; no gradient of a weight is touched.
Tensor Mla::backward_input(const Pass& pass, const Rows& rows, const Tensor& dy, Saved& saved) const {
  const int64_t n = dy.rows();
  saved.dy = dy;
  saved.d_o = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * v_});
  w_.o.backward_input(pass.exec, saved.d_o, dy);
  saved.dq = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (nope_ + rope_)});
  saved.dkv_a = Tensor::empty(pass.exec, pass.dtype, {n, rank_ + rope_});
  const Tensor d_latent =
      absorbed(pass) ? backward_absorbed(pass, rows, saved) : backward_up_projected(pass, rows, saved);
  rotate(pass, rows, saved.dq, saved.dkv_a, true);
  w_.kv_a_norm.backward_input(pass.exec, saved.dkv_a.col_range(0, rank_), d_latent, saved.kv_norm, false);

  const Tensor dx = Tensor::empty(pass.exec, pass.dtype, {n, w_.kv_a.in_features()});
  w_.kv_a.backward_input(pass.exec, dx, saved.dkv_a);
  if (!w_.q_a.weight) {
    w_.q_b.backward_input(pass.exec, dx, saved.dq, ops::Write::add);
    return dx;
  }
  const Tensor dq_normed = Tensor::empty(pass.exec, pass.dtype, {n, w_.q_b.in_features()});
  w_.q_b.backward_input(pass.exec, dq_normed, saved.dq);
  saved.dq_latent = Tensor::empty(pass.exec, pass.dtype, {n, w_.q_b.in_features()});
  w_.q_a_norm.backward_input(pass.exec, saved.dq_latent, dq_normed, saved.q_norm, false);
  w_.q_a.backward_input(pass.exec, dx, saved.dq_latent, ops::Write::add);
  return dx;
}

// dW = (gradient of its output)^T (its input) for each linear, from what backward_input left. Absorbed, kv_b's is made
// in two halves, from queries and from values: the whole of kv_b was never multiplied (nn/head_linear.h).
void Mla::backward_weight(const Pass& pass, const Activation& x, Saved& saved) const {
  const Exec& exec = pass.exec;
  const Activation operand = input_recipe() == w_.kv_a.recipe ? w_.kv_a.recipe.wgrad_operand(exec, x) : x;
  w_.o.backward_weight(exec, saved.dy, saved.o);
  if (absorbed(pass)) {
    by_head().backward_weight(exec, {saved.q, saved.dq_absorbed, saved.d_o, saved.z});
  } else {
    w_.kv_b.backward_weight(exec, saved.dkv, saved.latent);
  }
  w_.kv_a_norm.backward_weight(exec, saved.kv_norm);
  w_.kv_a.backward_weight(exec, saved.dkv_a, operand);
  if (w_.q_a.weight) {
    w_.q_b.backward_weight(exec, saved.dq, saved.q_normed);
    w_.q_a_norm.backward_weight(exec, saved.q_norm);
    w_.q_a.backward_weight(exec, saved.dq_latent, operand);
  } else {
    w_.q_b.backward_weight(exec, saved.dq, operand);
  }
  saved = Saved();
}

void Mla::each_parameter(const ParameterVisitor& visit) const {
  for (const Linear* linear : {&w_.q_a, &w_.q_b, &w_.kv_a, &w_.kv_b, &w_.o})
    if (linear->weight) visit(*linear->weight);
  for (const Norm* norm : {&w_.q_a_norm, &w_.kv_a_norm})
    if (norm->weight) visit(*norm->weight);
}

int64_t Mla::kept_bytes(DType dtype, AttentionForm form, Recompute recompute) const {
  if (recompute == Recompute::all) return 0;
  const bool absorbed = form == AttentionForm::absorbed;
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0;
  int64_t numbers = q_rank + rank_ + rope_ + heads_ * (absorbed ? rank_ : v_);  // latents, attention's result
  if (q_rank == 0) numbers += heads_ * (nope_ + rope_);
  if (recompute == Recompute::none) numbers += restored_numbers(form);
  return numbers * dtype_bytes(dtype) + (2 + heads_) * dtype_bytes(statistics_dtype(dtype));
}

// What Recompute::norms drops: normed latents, queries, up-projections (or absorbed queries and values).
int64_t Mla::restored_numbers(AttentionForm form) const {
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0;
  return q_rank + rank_ + (q_rank > 0 ? heads_ * (nope_ + rope_) : 0) +
         heads_ * (form == AttentionForm::absorbed ? rank_ + rope_ + v_ : nope_ + v_);
}

int64_t Mla::restored_bytes(DType dtype, AttentionForm form, Recompute recompute) const {
  if (recompute == Recompute::none) return 0;
  const int64_t again = restored_numbers(form) * dtype_bytes(dtype);
  return recompute == Recompute::all ? again + kept_bytes(dtype, form, Recompute::norms) : again;
}

int64_t Mla::backward_bytes(DType dtype, AttentionForm form) const {
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0;
  const int64_t heads = form == AttentionForm::absorbed ? rank_ + rope_ + 2 * rank_ : nope_ + v_;
  const int64_t numbers = heads_ * (v_ + nope_ + rope_ + heads) + q_rank + rank_ + rope_;
  return numbers * dtype_bytes(dtype) + 2 * dtype_bytes(statistics_dtype(dtype));
}

}  // namespace hadal
