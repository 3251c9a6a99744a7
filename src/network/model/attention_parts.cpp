#include "model/attention_parts.h"

#include <algorithm>

#include "base/error.h"
#include "nn/norm.h"
#include "nn/product_watch.h"
#include "ops/pointwise.h"

namespace hadal {

void check_attention_rows(const Parameter& q, const Rows& rows) {
  const bool cut = q.box.size[0] < q.spec.shape[0], shared = rows.split && rows.split->tensor_cut();
  check(cut == shared, ErrorKind::internal, "{}: this rank holds {} of {} rows, and the micro-batch is {}", q.spec.name,
        q.box.size[0], q.spec.shape[0], shared ? "shared over tensor ranks" : "not shared over tensor ranks");
}

void output_forward(const Pass& pass, const Rows& rows, const Linear& linear, const Tensor& y, const Tensor& o,
                    ops::Write write, const RowSplit::MakerOfPart& attend) {
  if (!rows.split || !rows.split->tensor_cut()) {
    attend({0, o.rows()});
    return linear.forward(pass.exec, y, o, write);
  }
  const Tensor of_heads = Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {o.rows(), linear.out_features()});
  // Codes that ranks make together are made of all rows first: each rank takes parts in an order of its own.
  const bool together = linear.shares_fprop_codes();
  if (together) attend({0, o.rows()});
  const Activation operand = together ? linear.fprop_operand(pass.exec, o) : Activation(o);
  const auto make = [&](const ops::RowRange& part) {
    if (!together) attend(part);
    linear.forward(pass.exec, of_heads.row_range(part.begin, part.count), operand.row_range(part.begin, part.count));
  };
  const Tensor sum = rows.split->start_reduce_in_parts(pass.exec, Extent::queries, of_heads, make).wait();
  if (write == ops::Write::add) {
    ops::add_to(pass.exec, y, sum);
  } else {
    ops::copy(pass.exec, y, sum);
  }
}

Activation kept_output(const Exec& exec, const Linear& linear, const Tensor& o, Kept form) {
  return keep(exec, o, form, linear.recipe.x_scale, linear.weight->cut_along(1));
}

Tensor output_backward(const Pass& pass, const Rows& rows, const Linear& linear, PartsUnderWay& under_way, Tensor& dy) {
  const Exec& exec = pass.exec;
  const int64_t n = rows.split ? rows.split->n_queries() : dy.rows();
  const Tensor d_o = Tensor::empty(exec, pass.dtype, {n, linear.in_features()});
  if (rows.split && rows.split->tensor_cut()) {
    if (!under_way) under_way = rows.split->start_parts(exec, Extent::queries, dy);
    under_way.each([&](const ops::RowRange& part) {
      linear.backward_input(exec, d_o.row_range(part.begin, part.count),
                            under_way.all().row_range(part.begin, part.count));
    });
    dy = under_way.finish();
  } else {
    linear.backward_input(exec, d_o, dy);
  }
  return d_o;
}

void attend_forward(const Exec& exec, ops::AttentionInputs in, const ops::RowRange& part, const Tensor& o,
                    const Tensor& lse) {
  if (part.count == 0) return;
  std::vector<ops::Segment> segments;  // what of each lies in the part: a query's last key is its own
  if (part.count < o.rows()) {
    for (const ops::Segment& s : *in.segments) {
      const int64_t begin = std::max(s.q_begin, part.begin);
      const int64_t end = std::min(s.q_begin + s.n_q, part.begin + part.count);
      if (begin < end)
        segments.push_back({begin - part.begin, end - begin, s.k_begin, s.n_k - (s.q_begin + s.n_q - end)});
    }
    in.segments = &segments;
  }
  in.q = in.q.row_range(part.begin, part.count);
  if (exec.watch) exec.watch->attention(exec, in, true);
  ops::attention_forward(exec, in, o.row_range(part.begin, part.count), lse.row_range(part.begin, part.count));
}

void attention_backward_of_runs(const Exec& exec, const Rows& rows, ops::AttentionInputs in,
                                const AttentionResult& forward, const std::vector<Tensor>& d_keys,
                                const GradientViews& views) {
  const auto run = [&](const std::vector<Tensor>& into) {
    if (exec.watch) exec.watch->attention(exec, in, false);
    ops::attention_backward(exec, in, forward.result, forward.lse, forward.d_result, views(into));
  };
  if (!rows.split) return run(d_keys);
  for (const Tensor& d : d_keys)
    if (d) d.zero(exec);
  for (const std::vector<ops::Segment>& segments : rows.split->passes()) {
    in.segments = &segments;
    if (&segments == &rows.split->passes().front()) {
      run(d_keys);
      continue;
    }
    std::vector<Tensor> more;
    for (const Tensor& d : d_keys) more.push_back(d ? Tensor::zeros(exec, d.dtype(), {d.rows(), d.cols()}) : Tensor());
    run(more);
    for (size_t i = 0; i < more.size(); ++i)
      if (more[i]) ops::add_to(exec, d_keys[i], more[i]);
  }
}

}  // namespace hadal
