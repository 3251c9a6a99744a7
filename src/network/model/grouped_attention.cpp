#include "model/grouped_attention.h"

#include "model/attention_parts.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {

GroupedAttention::GroupedAttention(const ModelConfig& config, const Weights& weights, double scale)
    : w_(weights),
      heads_(weights.q.weight->box.size[0] / config.whole_head_dim()),
      kv_heads_(weights.k.weight->box.size[0] / config.whole_head_dim()),
      d_(config.whole_head_dim()),
      scale_(scale) {}

void GroupedAttention::rotate(const Pass& pass, const Rows& rows, const Tensor& q, const Tensor& kv,
                              bool inverse) const {
  ops::RopeArgs args;
  args.d_rope = args.head_stride = d_;
  args.table = pass.rope_table;
  args.inverse = inverse;
  args.x = q, args.n_heads = heads_;
  args.positions = rows.split ? rows.query_positions : rows.positions;
  ops::rope(pass.exec, args);
  args.x = keys(kv), args.n_heads = kv_heads_;
  args.positions = rows.split ? rows.key_positions : rows.positions;
  ops::rope(pass.exec, args);
}

// q = rope(W_q x), [k | v] = [rope(W_k x) | W_v x]. Where ranks share the rows, x of all of them, each part multiplied
// once it is here; what is here already is not made again.
void GroupedAttention::project(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  const Exec& exec = pass.exec;
  PartsUnderWay under_way = start_parts(exec, saved.x ? nullptr : rows.split, Extent::keys, saved.x ? saved.x : x);
  const Tensor all = under_way.all();
  const int64_t n_queries = rows.split ? rows.split->n_queries() : all.rows();
  const bool multiply = !saved.q, queries_apart = n_queries < all.rows();
  if (multiply) {
    saved.kv = Tensor::empty(exec, pass.dtype, {all.rows(), 2 * kv_heads_ * d_});
    saved.q = Tensor::empty(exec, pass.dtype, {n_queries, heads_ * d_});
  }
  under_way.each([&](const ops::RowRange& part) {
    if (!multiply) return;
    const Tensor values = all.row_range(part.begin, part.count), kv = saved.kv.row_range(part.begin, part.count);
    const Activation operand = w_.k.recipe.fprop_operand(exec, values);
    w_.k.forward(exec, keys(kv), operand);
    w_.v.forward(exec, this->values(kv), operand);
    if (queries_apart) return;
    w_.q.forward(exec, saved.q.row_range(part.begin, part.count), one_input() ? operand : Activation(values));
  });
  under_way.finish();
  if (rows.split) saved.x = all;
  if (queries_apart && !saved.q_x) {
    saved.q_x = Tensor::empty(exec, pass.dtype, {n_queries, x.cols()});
    ops::gather_rows(exec, saved.q_x, saved.x, rows.query_rows);
  }
  if (!multiply) return;
  if (queries_apart) w_.q.forward(exec, saved.q, saved.q_x);
  rotate(pass, rows, saved.q, saved.kv, false);
}

ops::AttentionInputs GroupedAttention::inputs(const Rows& rows, const Saved& saved) const {
  const Tensor& kv = rows.cache ? rows.cache->kv : saved.kv;
  ops::AttentionInputs in;
  in.q = saved.q;
  in.k_nope = keys(kv), in.v = values(kv);
  in.k_head_stride = in.v_head_stride = in.d_nope = in.d_v = d_;
  in.n_heads = heads_, in.n_kv_heads = kv_heads_;
  in.scale = scale_;
  in.segments = rows.segments;
  in.blocks = rows.cache_blocks;
  return in;
}

bool GroupedAttention::begin_attending(const Pass& pass, Saved& saved) const {
  if (saved.lse && (saved.o || saved.kept_o)) return false;
  saved.o = Tensor::empty(pass.exec, pass.dtype, {saved.q.rows(), heads_ * d_});
  saved.lse = Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {saved.q.rows(), heads_});
  return true;
}

void GroupedAttention::forward(const Pass& pass, const Rows& rows, const Tensor& y, const Tensor& x, ops::Write write,
                               Saved& saved) const {
  check_attention_rows(*w_.q.weight, rows);
  project(pass, rows, x, saved);
  if (rows.cache) ops::put_rows(pass.exec, rows.cache->kv, saved.kv, rows.cache_rows);
  begin_attending(pass, saved);
  output_forward(pass, rows, w_.o, y, saved.o, write, [&](const ops::RowRange& part) {
    attend_forward(pass.exec, inputs(rows, saved), part, saved.o, saved.lse);
  });
}

void GroupedAttention::keep(const Pass& pass, Saved& saved) const {
  if (pass.recompute == Recompute::all) saved = Saved();
  if (w_.output != Kept::values && saved.o)
    saved.kept_o = kept_output(pass.exec, w_.o, saved.o, w_.output), saved.o.reset();
  if (pass.recompute == Recompute::norms) saved.x.reset(), saved.q_x.reset();
}

void GroupedAttention::restore(const Pass& pass, const Rows& rows, const Tensor& x, Saved& saved) const {
  const bool made_again = !saved.o && !saved.kept_o;
  project(pass, rows, x, saved);
  if (begin_attending(pass, saved))
    attend_forward(pass.exec, inputs(rows, saved), {0, saved.q.rows()}, saved.o, saved.lse);
  if (made_again) saved.kept_o = kept_output(pass.exec, w_.o, saved.o, w_.output);
  saved.o = saved.kept_o ? ops::dequantise(pass.exec, saved.kept_o) : saved.o;  // what is kept, recomputed or not
  saved.kept_o.reset();
}

// dy → do → attention → dq, d [k | v] → rotated back (a rotation's transpose is its inverse) → dx, the sum of what
// keys, values and queries say, brought to the rows' owners. No gradient of a weight is touched.
RowsUnderWay GroupedAttention::backward_input(const Pass& pass, const Rows& rows, const Tensor& dy, PartsUnderWay& sent,
                                              Saved& saved) const {
  const Exec& exec = pass.exec;
  saved.dy = dy;
  const Tensor d_o = output_backward(pass, rows, w_.o, sent, saved.dy);
  saved.dq = Tensor::empty(exec, pass.dtype, {saved.q.rows(), saved.q.cols()});
  saved.dkv = Tensor::empty(exec, pass.dtype, {saved.kv.rows(), saved.kv.cols()});
  attention_backward_of_runs(exec, rows, inputs(rows, saved), {saved.o, saved.lse, d_o}, {saved.dkv},
                             [&](const std::vector<Tensor>& d) {
                               return ops::AttentionGradients{saved.dq, keys(d[0]), values(d[0]), Tensor()};
                             });
  saved.q.reset(), saved.kv.reset(), saved.lse.reset();
  rotate(pass, rows, saved.dq, saved.dkv, true);

  const int64_t hidden = w_.q.in_features();
  const DType dtype = rows.split ? statistics_dtype(pass.dtype) : pass.dtype;
  const Tensor dx = Tensor::empty(exec, dtype, {saved.dkv.rows(), hidden});
  const Activation dk = w_.k.dgrad_operand(exec, keys(saved.dkv)), dv = w_.v.dgrad_operand(exec, values(saved.dkv));
  const Activation dq = w_.q.dgrad_operand(exec, saved.dq);  // of all rows first (Linear)
  const auto make = [&](const ops::RowRange& part) {
    const Tensor of_part = dx.row_range(part.begin, part.count);
    w_.k.backward_input(exec, of_part, dk.row_range(part.begin, part.count));
    w_.v.backward_input(exec, of_part, dv.row_range(part.begin, part.count), ops::Write::add);
    if (!saved.q_x) return w_.q.backward_input(exec, of_part, dq.row_range(part.begin, part.count), ops::Write::add);
    const Tensor of_queries = Tensor::empty(exec, dtype, {saved.dq.rows(), hidden});  // and `part` is all rows
    w_.q.backward_input(exec, of_queries, dq);
    ops::add_rows(exec, dx, of_queries, rows.query_rows);
  };
  return RowsUnderWay([&pass, sums = start_reduce_in_parts(exec, rows.split, Extent::keys, dx, make)]() mutable {
    return in_dtype(pass.exec, sums.wait(), pass.dtype);
  });
}

// dW = (gradient of its output)^T (its input) for each linear, from what backward_input left.
void GroupedAttention::backward_weight(const Pass& pass, const Tensor& x, Saved& saved) const {
  const Exec& exec = pass.exec;
  const Tensor& all = saved.x ? saved.x : x;
  const Activation operand = w_.k.recipe.wgrad_operand_x(exec, all);
  w_.o.backward_weight(exec, saved.dy, saved.o);
  w_.q.backward_weight(exec, saved.dq, saved.q_x ? Activation(saved.q_x) : one_input() ? operand : Activation(all));
  w_.k.backward_weight(exec, keys(saved.dkv), operand);
  w_.v.backward_weight(exec, values(saved.dkv), operand);
  saved = Saved();
}

void GroupedAttention::each_parameter(const ParameterVisitor& visit) const {
  for (const Linear* linear : {&w_.q, &w_.k, &w_.v, &w_.o}) visit(*linear->weight);
}

// x of all rows, and of the queries where context ranks cut them.
int64_t GroupedAttention::gathered_bytes(const PieceSizes& s) const {
  if (!s.split()) return 0;
  const int64_t rows = s.n_keys() + (s.n_queries() < s.n_keys() ? s.n_queries() : 0);
  return rows * w_.q.in_features() * dtype_bytes(s.dtype);
}

int64_t GroupedAttention::kept_bytes(const PieceSizes& s, Recompute recompute) const {
  if (recompute == Recompute::all) return 0;
  const int64_t each = dtype_bytes(s.dtype), cols = heads_ * d_;
  const int64_t output = hadal::kept_bytes(w_.output, s.n_queries(), cols, s.dtype, w_.o.recipe.x_scale);
  return s.n_queries() * (cols * each + heads_ * dtype_bytes(statistics_dtype(s.dtype))) + output +
         s.n_keys() * 2 * kv_heads_ * d_ * each + (recompute == Recompute::none ? gathered_bytes(s) : 0);
}

int64_t GroupedAttention::restored_bytes(const PieceSizes& s) const {
  const int64_t values = w_.output != Kept::values ? s.n_queries() * heads_ * d_ * dtype_bytes(s.dtype) : 0;
  if (s.recompute == Recompute::none) return values;
  if (s.recompute == Recompute::norms) return values + gathered_bytes(s);
  return values + kept_bytes(s, Recompute::none);
}

// do, dq, d [k | v]; where ranks share the rows also dy of all queries, dx on its way, and where context ranks cut them
// the queries' part of it and gradients of documents that are seen in two runs.
int64_t GroupedAttention::backward_bytes(const PieceSizes& s) const {
  const int64_t each = dtype_bytes(s.dtype), hidden = w_.q.in_features(), kv = 2 * kv_heads_ * d_;
  int64_t bytes = (s.n_queries() * 2 * heads_ * d_ + s.n_keys() * kv) * each;
  if (!s.split()) return bytes;
  const int64_t wide = dtype_bytes(statistics_dtype(s.dtype));
  bytes += s.n_queries() * hidden * each + s.n_keys() * hidden * wide;
  if (s.n_queries() < s.n_keys()) bytes += s.n_queries() * hidden * wide + s.n_keys() * kv * each;
  return bytes;
}

// o, dq, d [k | v], and x where it was brought together.
int64_t GroupedAttention::waiting_bytes(const PieceSizes& s) const {
  return (s.n_queries() * 2 * heads_ * d_ + s.n_keys() * 2 * kv_heads_ * d_) * dtype_bytes(s.dtype) + gathered_bytes(s);
}

}  // namespace hadal
