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

void Mla::rotate_queries(const Pass& pass, const Rows& rows, const ops::RowRange& part, const Tensor& q,
                         bool inverse) const {
  if (part.count == 0) return;
  const Tensor& positions = rows.split ? rows.query_positions : rows.positions;
  ops::RopeArgs args;
  args.d_rope = rope_;
  args.table = pass.rope_table;
  args.inverse = inverse;
  args.positions = positions.view({positions.count(), 1}).row_range(part.begin, part.count).view({part.count});
  args.x = q.row_range(part.begin, part.count).col_range(nope_, rope_);
  args.n_heads = heads_;
  args.head_stride = nope_ + rope_;
  ops::rope(pass.exec, args);
}

void Mla::rotate_key(const Pass& pass, const Rows& rows, const Tensor& kv_a, bool inverse) const {
  ops::RopeArgs args;
  args.d_rope = rope_;
  args.table = pass.rope_table;
  args.inverse = inverse;
  args.positions = rows.positions;
  args.x = kv_a.col_range(rank_, rope_);
  args.n_heads = 1;
  ops::rope(pass.exec, args);
}

// Then of all rows at once: each rank takes parts in an order of its own.
bool Mla::absorbs_together(const Pass& pass) const { return absorbed(pass) && by_head().shares_fprop_codes(); }

bool Mla::one_input() const { return (w_.q_a.weight ? w_.q_a : w_.q_b).recipe.same_x(w_.kv_a.recipe); }

Mla::Input Mla::input_of(const Pass& pass, const Tensor& x) const {
  return {x, one_input() ? w_.kv_a.recipe.fprop_operand(pass.exec, x) : x};
}

// To the latents (§1.3): c_q = W_qa x, [c | k_rope] = W_kva x. The rotary key is one for all heads, is not normed (trap
// 12) and is rotated here, so that cache and attention read it as it lies.
void Mla::project(const Pass& pass, const Rows& rows, const Input& x, Saved& saved) const {
  const int64_t n = x.values.rows();
  if (w_.q_a.weight) {
    saved.q_latent = Tensor::empty(pass.exec, pass.dtype, {n, w_.q_a.out_features()});
    w_.q_a.forward(pass.exec, saved.q_latent, x.operand);
  }
  saved.kv_a = Tensor::empty(pass.exec, pass.dtype, {n, rank_ + rope_});
  w_.kv_a.forward(pass.exec, saved.kv_a, x.operand);
  rotate_key(pass, rows, saved.kv_a, false);
}

// Latents on their way, those of the keys first, of which all must be there before any head attends.
Mla::Latents Mla::start_latents(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  const std::optional<Tensor> own = own_queries(pass, rows, x, saved);
  Latents under_way{start_keys(pass, rows, saved), {}};
  if (own) under_way.queries = start_parts(pass.exec, rows.split, Extent::queries, *own);
  return under_way;
}

// What q_b reads, of own rows: latents after their norm, or x. Nothing where that of all queries is here.
std::optional<Tensor> Mla::own_queries(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  if (saved.q_input) return {};
  if (w_.q_a.weight) return w_.q_a_norm.forward(pass.exec, saved.q_latent, saved.q_norm);
  if (!rows.split || !rows.split->tensor_cut()) return {};
  return x;
}

// The same for what keys are made of: latent after its norm and rotary key, to all.
PartsUnderWay Mla::start_keys(const Pass& pass, const Rows& rows, Saved& saved) const {
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
  return rows.split->start_parts(exec, Extent::keys, own);
}

// [k_nope | v] = W_kvb norm(c), of the latents that are here while others travel; absorbed they stay as they are.
void Mla::expand_keys(const Pass& pass, PartsUnderWay& keys, Saved& saved) const {
  if (keys) saved.latent = keys.all().col_range(0, rank_), saved.rope_key = keys.all().col_range(rank_, rope_);
  const bool multiply = !absorbed(pass) && !saved.kv;
  if (multiply) saved.kv = Tensor::empty(pass.exec, pass.dtype, {saved.latent.rows(), heads_ * (nope_ + v_)});
  if (!keys) {
    if (multiply) w_.kv_b.forward(pass.exec, saved.kv, saved.latent);
    return;
  }
  keys.each([&](const ops::RowRange& part) {
    if (multiply)
      w_.kv_b.forward(pass.exec, saved.kv.row_range(part.begin, part.count),
                      keys.all().row_range(part.begin, part.count).col_range(0, rank_));
  });
  keys.finish();
}

// Room for what is not here; forward and recomputation make it with one code.
Mla::Missing Mla::begin_queries(const Pass& pass, const Rows& rows, const Input& x, Saved& saved) const {
  const int64_t n = rows.split ? rows.split->n_queries() : x.values.rows();
  const auto room = [&](Tensor& tensor, int64_t cols) {
    if (tensor) return false;
    tensor = Tensor::empty(pass.exec, pass.dtype, {n, cols});
    return true;
  };
  Missing missing{};
  missing.q = room(saved.q, heads_ * (nope_ + rope_));
  missing.absorbed = absorbed(pass) && room(saved.q_absorbed, heads_ * (rank_ + rope_));
  if (!saved.lse) {
    missing.scores = true;
    Tensor& result = absorbed(pass) ? saved.z : saved.o;
    result = Tensor::empty(pass.exec, pass.dtype, {n, heads_ * (absorbed(pass) ? rank_ : v_)});
    saved.lse = Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {n, heads_});
  }
  missing.values = absorbed(pass) && room(saved.o, heads_ * v_);
  return missing;
}

// From the latents to heads: q = W_qb norm(c_q) with its rope part rotated.
void Mla::expand_queries(const Pass& pass, const Rows& rows, const Input& x, const ops::RowRange& part,
                         const Missing& missing, PartsUnderWay& queries, Saved& saved) const {
  const auto of_part = [&](const Tensor& all) { return all.row_range(part.begin, part.count); };
  if (queries) queries.await(part);
  if (missing.q && part.count > 0) {
    if (queries) {
      w_.q_b.forward(pass.exec, of_part(saved.q), of_part(queries.all()));
    } else {  // of all
      w_.q_b.forward(pass.exec, saved.q, saved.q_input ? Activation(saved.q_input) : x.operand);
    }
    rotate_queries(pass, rows, part, saved.q, false);
  }
  // q~_h = W_UK,h^T q_h once per query, instead of k_h = W_UK,h c once per key: scores are taken against the latent.
  if (missing.absorbed) by_head().absorb(pass.exec, of_part(saved.q_absorbed), of_part(saved.q));
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

void Mla::attend(const Pass& pass, const Rows& rows, const ops::RowRange& part, const Missing& missing,
                 Saved& saved) const {
  if (missing.scores)
    attend_forward(pass.exec, inputs(rows, saved), part, absorbed(pass) ? saved.z : saved.o, saved.lse);
  if (missing.values)  // attention gave the mixed latents z_h; o_h = W_UV,h z_h
    by_head().values(pass.exec, saved.o.row_range(part.begin, part.count), saved.z.row_range(part.begin, part.count));
}

void Mla::restore(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  Input input{x, {}};  // what is multiplied with it is here, unless all is made again
  if (!saved.kv_a) project(pass, rows, input = input_of(pass, x), saved);
  Latents under_way = start_latents(pass, rows, input.values, saved);
  const bool made_again = !saved.o && !saved.kept_o;
  if (saved.kept_o) saved.o = ops::dequantise(pass.exec, saved.kept_o), saved.kept_o.reset();
  const Missing missing = begin_queries(pass, rows, input, saved);
  const ops::RowRange all{0, saved.q.rows()};
  const auto expand = [&](const ops::RowRange& part) {
    expand_queries(pass, rows, input, part, missing, under_way.queries, saved);
  };
  if (under_way.queries && !absorbs_together(pass)) {
    under_way.queries.each(expand);
  } else {
    expand(all);
  }
  if (under_way.queries) saved.q_input = under_way.queries.finish();
  expand_keys(pass, under_way.keys, saved);
  attend(pass, rows, all, missing, saved);
  if (made_again)  // backward reads what is kept elsewhere
    saved.o = ops::dequantise(pass.exec, kept_output(pass.exec, w_.o, saved.o, w_.output));
}

void Mla::forward(const Pass& pass, const Rows& rows, const Tensor& y, const Tensor& x, ops::Write write,
                  Saved& saved) const {
  check_attention_rows(*w_.q_b.weight, rows);
  const Input input = input_of(pass, x);
  project(pass, rows, input, saved);
  Latents under_way = start_latents(pass, rows, x, saved);
  const Missing missing = begin_queries(pass, rows, input, saved);
  const auto expand = [&](const ops::RowRange& part) {
    expand_queries(pass, rows, input, part, missing, under_way.queries, saved);
  };
  const bool in_parts = rows.split && rows.split->tensor_cut() && !absorbs_together(pass);
  if (!in_parts) expand({0, saved.q.rows()});
  expand_keys(pass, under_way.keys, saved);
  if (rows.cache) append_to_cache(pass, rows, saved);
  if (absorbs_together(pass)) attend(pass, rows, {0, saved.q.rows()}, missing, saved);
  output_forward(pass, rows, w_.o, y, saved.o, write, [&](const ops::RowRange& part) {
    if (in_parts) expand(part);
    if (!absorbs_together(pass)) attend(pass, rows, part, missing, saved);
  });
  if (under_way.queries) saved.q_input = under_way.queries.finish();
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

void Mla::each_parameter(const ParameterVisitor& visit) const {
  for (const Linear* linear : {&w_.q_a, &w_.q_b, &w_.kv_a, &w_.kv_b, &w_.o})
    if (linear->weight) visit(*linear->weight);
  for (const Norm* norm : {&w_.q_a_norm, &w_.kv_a_norm})
    if (norm->weight) visit(*norm->weight);
}

}  // namespace hadal
