#include "ops/pointwise.h"

#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {

using namespace hadal::kernels;

void rms_norm(const Exec& exec, const Tensor& y, const Tensor& rstd, const Tensor& x, const Tensor& w, double eps) {
  const Rows to = kernel_rows(y, "rms_norm y"), from = kernel_rows(x, "rms_norm x");
  const bool f64 = all_f64({to, from}, "rms_norm");
  const int64_t rows = x.rows(), cols = x.cols();
  check_shape(y, rows, cols, "rms_norm y");
  const RmsNorm args{.y = to,
                     .x = from,
                     .w = wide_vector(w, cols, f64, "rms_norm w"),
                     .rstd = wide_vector(rstd, rows, f64, "rms_norm rstd"),
                     .rows = rows,
                     .cols = cols,
                     .eps = eps,
                     .lane = exec.compute};
  kernels::rms_norm(twin(exec, f64), args);
}

void rms_norm_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& w,
                             const Tensor& rstd, bool add) {
  const Rows to = kernel_rows(dx, "rms_norm dx"), from = kernel_rows(dy, "rms_norm dy"),
             in = kernel_rows(x, "rms_norm x");
  const bool f64 = all_f64({to, from, in}, "rms_norm_backward_input");
  const int64_t rows = x.rows(), cols = x.cols();
  check_shape(dx, rows, cols, "rms_norm dx");
  check_shape(dy, rows, cols, "rms_norm dy");
  const RmsNormBackwardInput args{.dx = to,
                                  .dy = from,
                                  .x = in,
                                  .w = wide_vector(w, cols, f64, "rms_norm w"),
                                  .rstd = wide_vector(rstd, rows, f64, "rms_norm rstd"),
                                  .rows = rows,
                                  .cols = cols,
                                  .add = add,
                                  .lane = exec.compute};
  kernels::rms_norm_backward_input(twin(exec, f64), args);
}

void rms_norm_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x, const Tensor& rstd,
                              Write write) {
  if (write == Write::overwrite) dw.zero(exec);
  const Rows from = kernel_rows(dy, "rms_norm dy"), in = kernel_rows(x, "rms_norm x");
  const bool f64 = all_f64({from, in}, "rms_norm_backward_weight");
  const int64_t rows = x.rows(), cols = x.cols();
  check_shape(dy, rows, cols, "rms_norm dy");
  const RmsNormBackwardWeight args{.dw = wide_vector(dw, cols, f64, "rms_norm dw"),
                                   .dy = from,
                                   .x = in,
                                   .rstd = wide_vector(rstd, rows, f64, "rms_norm rstd"),
                                   .rows = rows,
                                   .cols = cols,
                                   .lane = exec.compute};
  kernels::rms_norm_backward_weight(twin(exec, f64), args);
}

void rope(const Exec& exec, const RopeArgs& a) {
  const Rows x = kernel_rows(a.x, "rope x"), table = kernel_rows(a.table, "rope table");
  const bool f64 = x.dtype == DType::f64;
  const int64_t rows = a.x.rows();
  check(a.d_rope > 0 && a.d_rope % 2 == 0, ErrorKind::invalid,
        "rope rotates pairs: d_rope is {}, expected an even size", a.d_rope);
  check(a.n_heads == 1 || a.head_stride >= a.d_rope, ErrorKind::invalid, "rope: heads {} elements apart hold {} each",
        a.head_stride, a.d_rope);
  check(a.table.cols() == a.d_rope && table.dtype == (f64 ? DType::f64 : DType::f32), ErrorKind::invalid,
        "rope table is {} {}, expected {} rows of {}", dtype_name(a.table.dtype()), shape_text(a.table.shape()),
        f64 ? "F64" : "F32", a.d_rope);
  const int32_t* positions = i32_vector(a.positions, rows, "rope positions");
  check_ids(a.positions, 0, a.table.rows(), "rope: position of row");
  const Rope args{.x = x,
                  .rows = rows,
                  .n_heads = a.n_heads,
                  .head_stride = a.head_stride,
                  .d_rope = a.d_rope,
                  .table = table.data,
                  .table_stride = table.stride,
                  .positions = positions,
                  .inverse = a.inverse,
                  .lane = exec.compute};
  kernels::rope(twin(exec, f64), args);
}

void rope_table(const Exec& exec, const Tensor& table, std::span<const double> frequencies, double multiplier) {
  if (!table.on_host()) {  // sines and cosines of two libraries differ
    const Exec host = exec.on_host();
    const Tensor made = Tensor::empty(host, table.dtype(), table.shape());
    rope_table(host, made, frequencies, multiplier);
    return table.copy_from(made);
  }
  const RopeTable args{.table = kernel_rows(table, "rope table"),
                       .frequencies = frequencies.data(),
                       .positions = table.rows(),
                       .n_frequencies = int64_t(frequencies.size()),
                       .multiplier = multiplier,
                       .lane = exec.compute};
  check(!is_half(args.table.dtype), ErrorKind::invalid, "the rope table is {}, expected F32 or F64",
        dtype_name(args.table.dtype));
  check_shape(table, args.positions, 2 * args.n_frequencies, "rope table");
  kernels::rope_table(twin(exec, args.table.dtype == DType::f64), args);
}

void swiglu(const Exec& exec, const Tensor& h, const Tensor& g, const Tensor& u) {
  const Swiglu args{.h = kernel_rows(h, "swiglu h"),
                    .g = kernel_rows(g, "swiglu g"),
                    .u = kernel_rows(u, "swiglu u"),
                    .rows = g.rows(),
                    .cols = g.cols(),
                    .lane = exec.compute};
  const bool f64 = all_f64({args.h, args.g, args.u}, "swiglu");
  check(g.dtype() == u.dtype(), ErrorKind::invalid, "swiglu: g is {}, u is {}", dtype_name(g.dtype()),
        dtype_name(u.dtype()));
  check_shape(u, args.rows, args.cols, "swiglu u");
  check_shape(h, args.rows, args.cols, "swiglu h");
  kernels::swiglu(twin(exec, f64), args);
}

void swiglu_backward(const Exec& exec, const Tensor& dg, const Tensor& du, const Tensor& dh, const Tensor& g,
                     const Tensor& u) {
  const SwigluBackward args{.dg = kernel_rows(dg, "swiglu dg"),
                            .du = kernel_rows(du, "swiglu du"),
                            .dh = kernel_rows(dh, "swiglu dh"),
                            .g = kernel_rows(g, "swiglu g"),
                            .u = kernel_rows(u, "swiglu u"),
                            .rows = g.rows(),
                            .cols = g.cols(),
                            .lane = exec.compute};
  const bool f64 = all_f64({args.dg, args.du, args.dh, args.g, args.u}, "swiglu_backward");
  check(g.dtype() == u.dtype() && dg.dtype() == du.dtype(), ErrorKind::invalid,
        "swiglu_backward: g is {}, u {}, dg {}, du {}; expected pairs of one dtype", dtype_name(g.dtype()),
        dtype_name(u.dtype()), dtype_name(dg.dtype()), dtype_name(du.dtype()));
  check_shape(u, args.rows, args.cols, "swiglu u");
  check_shape(dh, args.rows, args.cols, "swiglu dh");
  check_shape(dg, args.rows, args.cols, "swiglu dg");
  check_shape(du, args.rows, args.cols, "swiglu du");
  kernels::swiglu_backward(twin(exec, f64), args);
}

void cross_entropy(const Exec& exec, const Tensor& logits, const Tensor& targets, double scale, const Tensor& loss,
                   bool gradient) {
  const Rows x = kernel_rows(logits, "cross_entropy logits");
  const bool f64 = x.dtype == DType::f64;
  const int64_t rows = logits.rows(), vocab = logits.cols();
  const int32_t* target = i32_vector(targets, rows, "cross_entropy targets");
  check(vocab > 0, ErrorKind::invalid, "cross_entropy: logits have no columns");
  check_ids(targets, -1, vocab, "cross_entropy: target of row");
  const CrossEntropy args{.logits = x,
                          .targets = target,
                          .loss = wide_vector(loss, rows, f64, "cross_entropy loss"),
                          .rows = rows,
                          .vocab = vocab,
                          .scale = scale,
                          .gradient = gradient,
                          .lane = exec.compute};
  kernels::cross_entropy(twin(exec, f64), args);
}

namespace {

// Numbers, or FP8 codes and scales of a byte, which become no other type on the way.
GatherRows by_index(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index) {
  const bool bytes = (src.dtype() == DType::f8_e4m3 || src.dtype() == DType::f8_e8m0) && dst.dtype() == src.dtype();
  const auto rows = [bytes](const Tensor& t, const char* what) {
    return bytes ? Rows{t.raw(), t.row_stride(), DType::f8_e4m3} : kernel_rows(t, what);
  };
  return {.y = rows(dst, "rows to write"),
          .w = rows(src, "rows to read"),
          .ids = i32_vector(index, index.count(), "index of rows"),
          .rows = index.count(),
          .cols = src.cols(),
          .lane = exec.compute};
}

}  // namespace

void embedding(const Exec& exec, const Tensor& y, const Tensor& w, const Tensor& ids) { gather_rows(exec, y, w, ids); }

void gather_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index) {
  const GatherRows args = by_index(exec, dst, src, index);
  const bool f64 = all_f64({args.y, args.w}, "gather_rows");
  check_shape(dst, args.rows, args.cols, "gathered rows");
  check_ids(index, 0, src.rows(), "index of row");
  kernels::gather_rows(twin(exec, f64), args);
}

void put_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index) {
  GatherRows args = by_index(exec, dst, src, index);
  args.scatter = true;
  const bool f64 = all_f64({args.y, args.w}, "put_rows");
  check_shape(src, args.rows, dst.cols(), "rows to put");
  check_ids(index, 0, dst.rows(), "index of row");
  kernels::gather_rows(twin(exec, f64), args);
}

namespace {

void scatter_add(const Exec& exec, const Tensor& to, const Tensor& from, const Tensor& ids, const char* op) {
  const ScatterAddRows args{.dw = kernel_rows(to, op),
                            .dy = kernel_rows(from, op),
                            .ids = i32_vector(ids, ids.count(), op),
                            .rows = ids.count(),
                            .cols = to.cols(),
                            .lane = exec.compute};
  const bool f64 = all_f64({args.dw, args.dy}, op);
  check_shape(from, args.rows, args.cols, op);
  check_ids(ids, 0, to.rows(), "id of row");
  kernels::scatter_add_rows(twin(exec, f64), args);
}

}  // namespace

void embedding_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& ids, Write write) {
  check(!is_half(dw.dtype()), ErrorKind::invalid, "embedding dw is {}, expected F32: gradients add up in FP32",
        dtype_name(dw.dtype()));
  if (write == Write::overwrite) dw.zero(exec);  // most rows belong to no id of this micro-batch
  scatter_add(exec, dw, dy, ids, "embedding_backward_weight");
}

void add_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index) {
  scatter_add(exec, dst, src, index, "add_rows");
}

}  // namespace hadal::ops
