#include "model/mla.h"

#include "model/attention_parts.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {

Mla::Mla(const ModelConfig& config, const Weights& weights, double scale)
    : w_(weights),
      heads_(weights.q_b.weight->box.size[0] / config.qk_head_dim()),
      nope_(config.qk_nope_head_dim),
      rope_(config.qk_rope_head_dim),
      v_(config.v_head_dim),
      rank_(config.kv_lora_rank),
      scale_(scale) {}

void Mla::rotate(const Pass& pass, const Rows& rows, const Tensor& q, const Tensor& kv_a, bool inverse) const {
  ops::RopeArgs args;
  args.d_rope = rope_;
  args.table = pass.rope_table;
  args.inverse = inverse;
  if (q) {
    args.positions = rows.split ? rows.query_positions : rows.positions;
    args.x = q.col_range(nope_, rope_);
    args.n_heads = heads_;
    args.head_stride = nope_ + rope_;
    ops::rope(pass.exec, args);
  }
  if (kv_a) {
    args.positions = rows.positions;
    args.x = kv_a.col_range(rank_, rope_);
    args.n_heads = 1;
    args.head_stride = 0;
    ops::rope(pass.exec, args);
  }
}

bool Mla::one_input() const { return (w_.q_a.weight ? w_.q_a : w_.q_b).recipe.same_x(w_.kv_a.recipe); }

Mla::Input Mla::input_of(const Pass& pass, const Tensor& x) const {
  return {x, one_input() ? w_.kv_a.recipe.fprop_operand(pass.exec, x) : x};
}

// To the latents (§1.3): c_q = W_qa x, [c | k_rope] = W_kva x. The rotary key is one for all heads, is not normed (trap
// 12) and is rotated here, so that cache and attention read it as it lies.
void Mla::project(const Pass& pass, const Rows& rows, const Input& x, Saved& saved, Latents& under_way) const {
  const int64_t n = x.values.rows();
  if (w_.q_a.weight) {
    saved.q_latent = Tensor::empty(pass.exec, pass.dtype, {n, w_.q_a.out_features()});
    w_.q_a.forward(pass.exec, saved.q_latent, x.operand);
  }
  under_way.queries = start_queries(pass, rows, x.values, saved);
  saved.kv_a = Tensor::empty(pass.exec, pass.dtype, {n, rank_ + rope_});
  w_.kv_a.forward(pass.exec, saved.kv_a, x.operand);
  rotate(pass, rows, Tensor(), saved.kv_a, false);
}

// What q_b reads, on its way to the rows' tensor ranks: latents after their norm, or x. Nothing where it is here.
RowsUnderWay Mla::start_queries(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  if (saved.q_input) return {};
  if (w_.q_a.weight) {
    const Tensor normed = w_.q_a_norm.forward(pass.exec, saved.q_latent, saved.q_norm);
    return start_gather(pass.exec, rows.split, Extent::queries, normed);
  }
  if (!rows.split || !rows.split->tensor_cut()) return {};
  return rows.split->start_gather(pass.exec, Extent::queries, x);
}

// The same for what keys are made of: latent after its norm and rotary key, to all.
RowsUnderWay Mla::start_keys(const Pass& pass, const Rows& rows, Saved& saved) const {
  if (saved.latent) return {};
  const Exec& exec = pass.exec;
  const Tensor raw = saved.kv_a.col_range(0, rank_), rope_key = saved.kv_a.col_range(rank_, rope_);
  if (!rows.split) {
    saved.latent = w_.kv_a_norm.forward(exec, raw, saved.kv_norm);
    saved.rope_key = rope_key;
    if (pass.cache == CacheFormat::fp8) {  // s = 2^ceil(log2(amax / 448)) in F32, as FlashMLA's cache has it (§1.3)
      const Tensor& latent = saved.latent.tensor();
      const Quantised codes =
          Quantised::empty(exec, latent.shape(), kRowTile, latent.dtype(), ScaleRule::power_of_two, DType::f32);
      quantise(exec, codes, latent, AmaxFloor::released);
      saved.latent = codes;
      saved.rope_key = rope_key.to(exec, DType::bf16);
    }
    return {};
  }
  const Tensor own = Tensor::empty(exec, pass.dtype, {raw.rows(), rank_ + rope_});
  w_.kv_a_norm.forward(exec, own.col_range(0, rank_), raw, saved.kv_norm);
  ops::copy(exec, own.col_range(rank_, rope_), rope_key);
  return rows.split->start_gather(exec, Extent::keys, own);
}

// From the latents to heads: q = W_qb norm(c_q) with its rope part rotated, [k_nope | v] = W_kvb norm(c); absorbed,
// only the queries change. Makes what is missing, so forward and recomputation are one code. What queries are made of
// travels while kv_a is multiplied, what keys are made of while queries are.
void Mla::expand(const Pass& pass, const Rows& rows, const Input& x, Saved& saved, Latents& under_way) const {
  if (!under_way.queries) under_way.queries = start_queries(pass, rows, x.values, saved);
  under_way.keys = start_keys(pass, rows, saved);
  if (under_way.queries) saved.q_input = under_way.queries.wait();
  if (!saved.q) {
    const Activation& q_input = saved.q_input ? Activation(saved.q_input) : x.operand;
    saved.q = Tensor::empty(pass.exec, pass.dtype, {q_input.rows(), heads_ * (nope_ + rope_)});
    w_.q_b.forward(pass.exec, saved.q, q_input);
    rotate(pass, rows, saved.q, Tensor(), false);
  }
  if (absorbed(pass)) {
    // q~_h = W_UK,h^T q_h once per query, instead of k_h = W_UK,h c once per key: scores are taken against the latent.
    if (!saved.q_absorbed) {
      saved.q_absorbed = Tensor::empty(pass.exec, pass.dtype, {saved.q.rows(), heads_ * (rank_ + rope_)});
      by_head().absorb(pass.exec, saved.q_absorbed, saved.q);
    }
  }
  if (under_way.keys) {
    const Tensor keys = under_way.keys.wait();
    saved.latent = keys.col_range(0, rank_), saved.rope_key = keys.col_range(rank_, rope_);
  }
  if (!absorbed(pass) && !saved.kv) {
    saved.kv = Tensor::empty(pass.exec, pass.dtype, {saved.latent.rows(), heads_ * (nope_ + v_)});
    w_.kv_b.forward(pass.exec, saved.kv, saved.latent);
  }
}

void Mla::append_to_cache(const Pass& pass, const Rows& rows, const Saved& saved) const {
  ops::put_rows(pass.exec, rows.cache->latent, saved.latent, rows.cache_rows);
  ops::put_rows(pass.exec, rows.cache->rope_key, saved.rope_key, rows.cache_rows);
  if (!absorbed(pass)) ops::put_rows(pass.exec, rows.cache->kv, saved.kv, rows.cache_rows);
}

ops::AttentionInputs Mla::inputs(const Rows& rows, const Saved& saved) const {
  const Activation& latent = rows.cache ? rows.cache->latent : saved.latent;
  ops::AttentionInputs in;
  in.k_rope = rows.cache ? rows.cache->rope_key : saved.rope_key;
  in.n_heads = heads_;
  in.d_rope = rope_;
  in.scale = scale_;
  in.segments = rows.segments;
  in.blocks = rows.cache_blocks;
  if (saved.q_absorbed) {
    in.q = saved.q_absorbed;
    if (latent.is_quantised()) in.k_scales = latent.quantised().scales;
    in.k_nope = in.v = latent.is_quantised() ? latent.quantised().codes : latent.tensor();
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
    if (n > 0) ops::attention_forward(pass.exec, inputs(rows, saved), result, saved.lse);
  }
  if (!saved.o) {  // attention gave the mixed latents z_h; o_h = W_UV,h z_h
    saved.o = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * v_});
    by_head().values(pass.exec, saved.o, saved.z);
  }
}

void Mla::restore(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  Latents under_way;
  Input input{x, {}};  // what is multiplied with it is here, unless all is made again
  if (!saved.kv_a) project(pass, rows, input = input_of(pass, x), saved, under_way);
  expand(pass, rows, input, saved, under_way);
  const bool made_again = !saved.o && !saved.kept_o;
  if (saved.kept_o) saved.o = ops::dequantise(pass.exec, saved.kept_o), saved.kept_o.reset();
  attend(pass, rows, saved);
  if (made_again)  // backward reads what is kept elsewhere
    saved.o = ops::dequantise(pass.exec, kept_output(pass.exec, w_.o, saved.o, w_.output));
}

void Mla::forward(const Pass& pass, const Rows& rows, const Tensor& y, const Tensor& x, ops::Write write,
                  Saved& saved) const {
  check_attention_rows(*w_.q_b.weight, rows);
  Latents under_way;
  const Input input = input_of(pass, x);
  project(pass, rows, input, saved, under_way);
  expand(pass, rows, input, saved, under_way);
  if (rows.cache) append_to_cache(pass, rows, saved);
  attend(pass, rows, saved);
  output_forward(pass, rows, w_.o, y, saved.o, write);
}

void Mla::keep(const Pass& pass, Saved& saved) const {
  if (pass.recompute == Recompute::all) saved = Saved();
  if (w_.output != Kept::values && saved.o)
    saved.kept_o = kept_output(pass.exec, w_.o, saved.o, w_.output), saved.o.reset();
  if (pass.recompute != Recompute::norms) return;
  saved.q_input.reset();
  saved.latent.reset();
  saved.rope_key.reset();
  saved.kv.reset();
  saved.q_absorbed.reset();
  if (w_.q_a.weight) saved.q.reset();
  if (saved.z) saved.o.reset(), saved.kept_o.reset();
}

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

// Attention gives d q, d [k_nope | v] of every head and, summed over heads, d k_rope. d norm(c) = d kv W_kvb.
void Mla::backward_up_projected(const Pass& pass, const Rows& rows, const Tensor& d_latent, const Tensor& d_rope_key,
                                Saved& saved) const {
  saved.dkv = Tensor::empty(pass.exec, pass.dtype, {saved.kv.rows(), heads_ * (nope_ + v_)});
  attend_backward(pass, rows, saved.d_o, saved.dq, {saved.dkv, Tensor(), d_rope_key}, saved);
  saved.d_o.reset();
  saved.kv.reset();
  saved.q.reset();
  w_.kv_b.backward_input(pass.exec, d_latent, saved.dkv);
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

// dq → d of what q_b read, to its owners: of the latent after its norm, or of x.
RowsUnderWay Mla::start_queries_back(const Pass& pass, const Rows& rows, Saved& saved) const {
  const DType dtype = rows.split ? statistics_dtype(pass.dtype) : pass.dtype;
  const Tensor d_input = Tensor::empty(pass.exec, dtype, {saved.dq.rows(), w_.q_b.in_features()});
  w_.q_b.backward_input(pass.exec, d_input, saved.dq);
  return start_reduce(pass.exec, rows.split, Extent::queries, d_input);
}

// dy → do → attention → dq, d latent, d k_rope → rotated back (a rotation's transpose is its inverse) → norms → dx, the
// sum of what queries and the latent say. What W needs of these stays in `saved`; no gradient of a weight is touched.
// The keys' gradients travel to their owners while those of the queries are made, and these while dx is.
Tensor Mla::backward_input(const Pass& pass, const Rows& rows, const Tensor& dy, Saved& saved) const {
  const Exec& exec = pass.exec;
  saved.dy = dy;
  saved.d_o = output_backward(pass, rows, w_.o, saved.dy);
  saved.dq = Tensor::empty(exec, pass.dtype, {saved.d_o.rows(), heads_ * (nope_ + rope_)});
  saved.dkv_a = Tensor::empty(exec, pass.dtype, {dy.rows(), rank_ + rope_});
  const Tensor own_rope_key = saved.dkv_a.col_range(rank_, rope_);
  const int64_t n_keys = saved.latent.rows();
  Tensor d_keys;  // latent and rotary key, where they go to their owners
  if (rows.split) d_keys = Tensor::empty(exec, statistics_dtype(pass.dtype), {n_keys, rank_ + rope_});
  Tensor d_latent =
      d_keys && !absorbed(pass) ? d_keys.col_range(0, rank_) : Tensor::empty(exec, pass.dtype, {n_keys, rank_});
  const Tensor d_rope_key = d_keys ? Tensor::empty(exec, pass.dtype, {n_keys, rope_}) : own_rope_key;
  if (absorbed(pass)) {
    backward_absorbed(pass, rows, d_latent, d_rope_key, saved);
  } else {
    backward_up_projected(pass, rows, d_latent, d_rope_key, saved);
  }
  RowsUnderWay keys;
  if (d_keys) {
    if (absorbed(pass)) ops::copy(exec, d_keys.col_range(0, rank_), d_latent);
    ops::copy(exec, d_keys.col_range(rank_, rope_), d_rope_key);
    keys = rows.split->start_reduce(exec, Extent::keys, d_keys);
  }
  rotate(pass, rows, saved.dq, Tensor(), true);
  RowsUnderWay queries = w_.q_a.weight || rows.split ? start_queries_back(pass, rows, saved) : RowsUnderWay();
  if (keys) {
    const Tensor own = keys.wait();
    d_latent = in_dtype(exec, own.col_range(0, rank_), pass.dtype);
    ops::copy(exec, own_rope_key, own.col_range(rank_, rope_));
  }
  rotate(pass, rows, Tensor(), saved.dkv_a, true);
  w_.kv_a_norm.backward_input(exec, saved.dkv_a.col_range(0, rank_), d_latent, saved.kv_norm, false);

  const Tensor dx = Tensor::empty(exec, pass.dtype, {dy.rows(), w_.kv_a.in_features()});
  w_.kv_a.backward_input(exec, dx, saved.dkv_a);
  if (!w_.q_a.weight) {
    if (queries) {
      ops::add_to(exec, dx, queries.wait());
    } else {
      w_.q_b.backward_input(exec, dx, saved.dq, ops::Write::add);
    }
    return dx;
  }
  saved.dq_latent = Tensor::empty(exec, pass.dtype, {dy.rows(), w_.q_b.in_features()});
  const Tensor d_normed = in_dtype(exec, queries.wait(), pass.dtype);
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

void Mla::each_parameter(const ParameterVisitor& visit) const {
  for (const Linear* linear : {&w_.q_a, &w_.q_b, &w_.kv_a, &w_.kv_b, &w_.o})
    if (linear->weight) visit(*linear->weight);
  for (const Norm* norm : {&w_.q_a_norm, &w_.kv_a_norm})
    if (norm->weight) visit(*norm->weight);
}

}  // namespace hadal
