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

void Mla::rotate(const Run& run, const Rows& rows, const Tensor& q, const Tensor& kv_a, bool inverse) const {
  ops::RopeArgs args;
  args.d_rope = rope_;
  args.table = run.rope_table;
  args.positions = rows.positions.data();
  args.inverse = inverse;
  if (q) {
    args.x = q.col_range(nope_, rope_);
    args.n_heads = heads_;
    args.head_stride = nope_ + rope_;
    ops::rope(run.exec, args);
  }
  if (kv_a) {
    args.x = kv_a.col_range(rank_, rope_);
    args.n_heads = 1;
    args.head_stride = 0;
    ops::rope(run.exec, args);
  }
}

GemmRecipe Mla::input_recipe() const {
  const Linear& queries = w_.q_a.weight ? w_.q_a : w_.q_b;
  return queries.recipe == w_.kv_a.recipe ? queries.recipe : GemmRecipe();
}

void Mla::project(const Run& run, const Rows& rows, const Activation& x, Saved& saved) const {
  const int64_t n = x.rows();
  if (w_.q_a.weight) {
    saved.q_latent = Tensor::empty(run.exec, run.dtype, {n, w_.q_a.out_features()});
    w_.q_a.forward(run.exec, saved.q_latent, x);
  }
  saved.kv_a = Tensor::empty(run.exec, run.dtype, {n, rank_ + rope_});
  w_.kv_a.forward(run.exec, saved.kv_a, x);
  rotate(run, rows, Tensor(), saved.kv_a, false);
}

void Mla::expand(const Run& run, const Rows& rows, const Activation& x, Saved& saved) const {
  const int64_t n = saved.kv_a.rows();
  if (w_.q_a.weight && !saved.q_normed)
    saved.q_normed = w_.q_a_norm.forward(run.exec, saved.q_latent, saved.q_norm, w_.q_b.recipe);
  if (!saved.q) {
    saved.q = Tensor::empty(run.exec, run.dtype, {n, heads_ * (nope_ + rope_)});
    w_.q_b.forward(run.exec, saved.q, w_.q_a.weight ? saved.q_normed : x);
    rotate(run, rows, saved.q, Tensor(), false);
  }
  if (!saved.latent) saved.latent = w_.kv_a_norm.forward(run.exec, saved.kv_a.col_range(0, rank_), saved.kv_norm);
  if (absorbed(run)) {
    if (!saved.q_absorbed) absorb_queries(run, saved);
  } else if (!saved.kv) {
    saved.kv = Tensor::empty(run.exec, run.dtype, {n, heads_ * (nope_ + v_)});
    w_.kv_b.forward(run.exec, saved.kv, saved.latent);
  }
}

// The rope parts of all heads of all rows as one matrix [rows * heads, rope], for heads of head_size elements.
Tensor Mla::rope_part(const Tensor& heads, int64_t rows, int64_t head_size) const {
  return heads.view({rows * heads_, head_size}).col_range(head_size - rope_, rope_);
}

void Mla::absorb_queries(const Run& run, Saved& saved) const {
  const int64_t n = saved.q.rows();
  saved.q_absorbed = Tensor::empty(run.exec, run.dtype, {n, heads_ * (rank_ + rope_)});
  ops::HeadMatmul product;
  product.c = saved.q_absorbed.col_range(0, rank_);
  product.a = saved.q.col_range(0, nope_);
  product.b = w_.kv_b.weight->value.row_range(0, nope_);
  product.n_heads = heads_;
  product.c_head_stride = rank_ + rope_;
  product.a_head_stride = nope_ + rope_;
  product.b_head_stride = (nope_ + v_) * rank_;
  ops::head_matmul(run.exec, product);
  ops::copy(run.exec, rope_part(saved.q_absorbed, n, rank_ + rope_), rope_part(saved.q, n, nope_ + rope_));
}

void Mla::project_values(const Run& run, Saved& saved) const {
  saved.o = Tensor::empty(run.exec, run.dtype, {saved.z.rows(), heads_ * v_});
  ops::HeadMatmul product;
  product.c = saved.o.col_range(0, v_);
  product.a = saved.z.col_range(0, rank_);
  product.b = w_.kv_b.weight->value.row_range(nope_, v_);
  product.n_heads = heads_;
  product.c_head_stride = v_;
  product.a_head_stride = rank_;
  product.b_head_stride = (nope_ + v_) * rank_;
  product.transpose_b = true;
  ops::head_matmul(run.exec, product);
}

void Mla::append_to_cache(const Run& run, const Rows& rows, const Saved& saved) const {
  const int64_t n = saved.kv_a.rows();
  ops::copy(run.exec, rows.cache->latent.row_range(rows.cached, n), saved.latent);
  ops::copy(run.exec, rows.cache->rope_key.row_range(rows.cached, n), saved.kv_a.col_range(rank_, rope_));
  if (!absorbed(run)) ops::copy(run.exec, rows.cache->kv.row_range(rows.cached, n), saved.kv);
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

void Mla::attend(const Run& run, const Rows& rows, Saved& saved) const {
  const int64_t n = saved.q.rows();
  if (!saved.lse) {
    Tensor& result = absorbed(run) ? saved.z : saved.o;
    result = Tensor::empty(run.exec, run.dtype, {n, heads_ * (absorbed(run) ? rank_ : v_)});
    saved.lse = Tensor::empty(run.exec, statistics_dtype(run.dtype), {n, heads_});
    ops::attention_forward(run.exec, inputs(rows, saved), result, saved.lse);
  }
  if (!saved.o) project_values(run, saved);
}

void Mla::restore(const Run& run, const Rows& rows, const Activation& x, Saved& saved) const {
  if (!saved.kv_a) project(run, rows, x, saved);
  expand(run, rows, x, saved);
  attend(run, rows, saved);
}

void Mla::forward(const Run& run, const Rows& rows, const Tensor& y, const Activation& x, ops::Write write,
                  Saved& saved) const {
  project(run, rows, x, saved);
  expand(run, rows, x, saved);
  if (rows.cache) append_to_cache(run, rows, saved);
  attend(run, rows, saved);
  w_.o.forward(run.exec, y, saved.o, write);
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

Tensor Mla::backward_up_projected(const Run& run, const Rows& rows, Saved& saved) const {
  saved.dkv = Tensor::empty(run.exec, run.dtype, {saved.kv.rows(), heads_ * (nope_ + v_)});
  const ops::AttentionGradients gradients{saved.dq, saved.dkv.col_range(0, nope_), saved.dkv.col_range(nope_, v_),
                                          saved.dkv_a.col_range(rank_, rope_)};
  ops::attention_backward(run.exec, inputs(rows, saved), saved.o, saved.lse, saved.d_o, gradients);
  saved.d_o.reset();
  saved.kv.reset();
  saved.q.reset();
  const Tensor d_latent = Tensor::empty(run.exec, run.dtype, {saved.dkv.rows(), rank_});
  w_.kv_b.backward_input(run.exec, d_latent, saved.dkv);
  return d_latent;
}

Tensor Mla::backward_absorbed(const Run& run, const Rows& rows, Saved& saved) const {
  const int64_t n = saved.q.rows();
  const Tensor& kv_b = w_.kv_b.weight->value;
  const Tensor dz = Tensor::empty(run.exec, run.dtype, {n, heads_ * rank_});
  ops::HeadMatmul product;  // dz_h = do_h W_UV,h
  product.c = dz.col_range(0, rank_);
  product.a = saved.d_o.col_range(0, v_);
  product.b = kv_b.row_range(nope_, v_);
  product.n_heads = heads_;
  product.c_head_stride = rank_;
  product.a_head_stride = v_;
  product.b_head_stride = (nope_ + v_) * rank_;
  ops::head_matmul(run.exec, product);

  saved.dq_absorbed = Tensor::empty(run.exec, run.dtype, {n, heads_ * (rank_ + rope_)});
  const Tensor d_latent = Tensor::empty(run.exec, run.dtype, {n, rank_});
  const Tensor d_value = Tensor::empty(run.exec, run.dtype, {n, rank_});
  const ops::AttentionGradients gradients{saved.dq_absorbed, d_latent, d_value, saved.dkv_a.col_range(rank_, rope_)};
  ops::attention_backward(run.exec, inputs(rows, saved), saved.z, saved.lse, dz, gradients);
  ops::add_to(run.exec, d_latent, d_value);
  saved.q_absorbed.reset();

  product.c = saved.dq.col_range(0, nope_);  // dq_nope,h = dq~_h W_UK,h^T
  product.a = saved.dq_absorbed.col_range(0, rank_);
  product.b = kv_b.row_range(0, nope_);
  product.c_head_stride = nope_ + rope_;
  product.a_head_stride = rank_ + rope_;
  product.transpose_b = true;
  ops::head_matmul(run.exec, product);
  ops::copy(run.exec, rope_part(saved.dq, n, nope_ + rope_), rope_part(saved.dq_absorbed, n, rank_ + rope_));
  return d_latent;
}

Tensor Mla::backward_input(const Run& run, const Rows& rows, const Tensor& dy, Saved& saved) const {
  const int64_t n = dy.rows();
  saved.dy = dy;
  saved.d_o = Tensor::empty(run.exec, run.dtype, {n, heads_ * v_});
  w_.o.backward_input(run.exec, saved.d_o, dy);
  saved.dq = Tensor::empty(run.exec, run.dtype, {n, heads_ * (nope_ + rope_)});
  saved.dkv_a = Tensor::empty(run.exec, run.dtype, {n, rank_ + rope_});
  const Tensor d_latent = absorbed(run) ? backward_absorbed(run, rows, saved) : backward_up_projected(run, rows, saved);
  rotate(run, rows, saved.dq, saved.dkv_a, true);
  w_.kv_a_norm.backward_input(run.exec, saved.dkv_a.col_range(0, rank_), d_latent, saved.kv_norm, false);

  const Tensor dx = Tensor::empty(run.exec, run.dtype, {n, w_.kv_a.in_features()});
  w_.kv_a.backward_input(run.exec, dx, saved.dkv_a);
  if (!w_.q_a.weight) {
    w_.q_b.backward_input(run.exec, dx, saved.dq, ops::Write::add);
    return dx;
  }
  const Tensor dq_normed = Tensor::empty(run.exec, run.dtype, {n, w_.q_b.in_features()});
  w_.q_b.backward_input(run.exec, dq_normed, saved.dq);
  saved.dq_latent = Tensor::empty(run.exec, run.dtype, {n, w_.q_b.in_features()});
  w_.q_a_norm.backward_input(run.exec, saved.dq_latent, dq_normed, saved.q_norm, false);
  w_.q_a.backward_input(run.exec, dx, saved.dq_latent, ops::Write::add);
  return dx;
}

void Mla::backward_weight(const Run& run, const Activation& x, Saved& saved) const {
  const Exec& exec = run.exec;
  const Activation operand = input_recipe() == w_.kv_a.recipe ? w_.kv_a.recipe.wgrad_operand(exec, x) : x;
  w_.o.backward_weight(exec, saved.dy, saved.o);
  if (absorbed(run)) {
    const Tensor& gradient = w_.kv_b.weight->grad;
    ops::HeadMatmul product;  // dW_UV,h += do_h^T z_h
    product.c = gradient.row_range(nope_, v_);
    product.a = saved.d_o.col_range(0, v_);
    product.b = saved.z.col_range(0, rank_);
    product.n_heads = heads_;
    product.c_head_stride = (nope_ + v_) * rank_;
    product.a_head_stride = v_;
    product.b_head_stride = rank_;
    product.transpose_a = true;
    product.write = ops::Write::add;
    ops::head_matmul(exec, product);
    product.c = gradient.row_range(0, nope_);  // dW_UK,h += q_nope,h^T dq~_h
    product.a = saved.q.col_range(0, nope_);
    product.b = saved.dq_absorbed.col_range(0, rank_);
    product.a_head_stride = nope_ + rope_;
    product.b_head_stride = rank_ + rope_;
    ops::head_matmul(exec, product);
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

}  // namespace hadal
