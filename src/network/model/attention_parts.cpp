#include "model/attention_parts.h"

#include "base/error.h"
#include "nn/norm.h"
#include "ops/pointwise.h"

namespace hadal {

void check_attention_rows(const Parameter& q, const Rows& rows) {
  const bool cut = q.box.size[0] < q.spec.shape[0], shared = rows.split && rows.split->tensor_cut();
  check(cut == shared, ErrorKind::internal, "{}: this rank holds {} of {} rows, and the micro-batch is {}", q.spec.name,
        q.box.size[0], q.spec.shape[0], shared ? "shared over tensor ranks" : "not shared over tensor ranks");
}

void output_forward(const Pass& pass, const Rows& rows, const Linear& linear, const Tensor& y, const Tensor& o,
                    ops::Write write) {
  if (!rows.split || !rows.split->tensor_cut()) return linear.forward(pass.exec, y, o, write);
  const Tensor of_heads = Tensor::empty(pass.exec, statistics_dtype(pass.dtype), {o.rows(), linear.out_features()});
  const Activation operand = linear.fprop_operand(pass.exec, o);
  const Tensor sum = rows.split->reduce_in_parts(pass.exec, of_heads, [&](const ops::RowRange& part) {
    linear.forward(pass.exec, of_heads.row_range(part.begin, part.count), operand.row_range(part.begin, part.count));
  });
  if (write == ops::Write::add) {
    ops::add_to(pass.exec, y, sum);
  } else {
    ops::copy(pass.exec, y, sum);
  }
}

Activation kept_output(const Exec& exec, const Linear& linear, const Tensor& o, Kept form) {
  return keep(exec, o, form, linear.recipe.x_scale, linear.weight->cut_along(1));
}

Tensor output_backward(const Pass& pass, const Rows& rows, const Linear& linear, Tensor& dy) {
  const Exec& exec = pass.exec;
  const int64_t n = rows.split ? rows.split->n_queries() : dy.rows();
  const Tensor d_o = Tensor::empty(exec, pass.dtype, {n, linear.in_features()});
  if (rows.split && rows.split->tensor_cut()) {
    dy = rows.split->gather_in_parts(exec, dy, [&](const Tensor& all, const ops::RowRange& part) {
      linear.backward_input(exec, d_o.row_range(part.begin, part.count), all.row_range(part.begin, part.count));
    });
  } else {
    linear.backward_input(exec, d_o, dy);
  }
  return d_o;
}

void attention_backward_of_runs(const Exec& exec, const Rows& rows, ops::AttentionInputs in,
                                const AttentionResult& forward, const std::vector<Tensor>& d_keys,
                                const GradientViews& views) {
  const auto run = [&](const std::vector<Tensor>& into) {
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
