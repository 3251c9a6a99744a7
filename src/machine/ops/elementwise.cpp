// Sums, scaling, conversion and the reductions over whole tensors; contiguous operands are seen as long lines.
#include "kernels/elementwise.h"

#include <cstring>
#include <vector>

#include "ops/kernel_rows.h"
#include "ops/pointwise.h"

namespace hadal::ops {

using namespace hadal::kernels;

namespace {

// Contiguous operands are seen as rows of this many elements, so that one long vector is shared between threads too.
constexpr int64_t kLine = 4096;

struct Extent {
  int64_t rows, cols;
  bool flat;
};

Extent extent(std::initializer_list<const Tensor*> operands) {
  const Tensor& first = **operands.begin();
  bool flat = true;
  for (const Tensor* tensor : operands) flat = flat && tensor->contiguous();
  const int64_t count = first.count();
  if (flat && count % kLine == 0 && count > 0) return {count / kLine, kLine, true};
  if (flat && first.rows() <= 1) return {1, count, true};
  return {first.rows(), first.cols(), false};
}

Rows rows_in(const Extent& e, const Tensor& tensor, const char* what) {
  Rows rows = kernel_rows(tensor, what);
  if (e.flat) rows.stride = e.cols;
  return rows;
}

void scale_into(const Exec& exec, const Tensor& y, const Tensor& x, double factor, const char* op) {
  check(y.count() == x.count() && (y.cols() == x.cols() || (y.contiguous() && x.contiguous())), ErrorKind::invalid,
        "{}: {} elements of shape {} into {}", op, x.count(), shape_text(x.shape()), shape_text(y.shape()));
  const Extent e = extent({&x, &y});
  const ScaleRows args{.y = rows_in(e, y, op),
                       .x = rows_in(e, x, op),
                       .factor = factor,
                       .rows = e.rows,
                       .cols = e.cols,
                       .lane = exec.compute};
  const bool f64 = args.x.dtype == DType::f64 || args.y.dtype == DType::f64;
  kernels::scale_rows(twin(exec, f64), args);
}

}  // namespace

void add(const Exec& exec, const Tensor& y, const Tensor& a, const Tensor& b) {
  check_shape(a, y.rows(), y.cols(), "add a");
  check_shape(b, y.rows(), y.cols(), "add b");
  const Extent e = extent({&y, &a, &b});
  const AddRows args{.y = rows_in(e, y, "add y"),
                     .a = rows_in(e, a, "add a"),
                     .b = rows_in(e, b, "add b"),
                     .rows = e.rows,
                     .cols = e.cols,
                     .lane = exec.compute};
  const bool f64 = all_f64({args.y, args.a, args.b}, "add");
  kernels::add_rows(twin(exec, f64), args);
}

void add_to(const Exec& exec, const Tensor& y, const Tensor& x) { add(exec, y, y, x); }

void shift(const Exec& exec, const Tensor& y, const std::vector<double>& by) {
  const int64_t count = int64_t(by.size());
  const bool f64 = y.dtype() == DType::f64;
  const Tensor list = Tensor::from(exec, by, {count});
  kernels::shift(
      twin(exec, f64),
      {.y = wide_vector(y, count, f64, "shift y"), .by = list.address<double>(), .count = count, .dtype = y.dtype()});
}

void scale(const Exec& exec, const Tensor& y, double factor) { scale_into(exec, y, y, factor, "scale"); }

void copy(const Exec& exec, const Tensor& y, const Tensor& x) { scale_into(exec, y, x, 1.0, "copy"); }

namespace {
constexpr int64_t kSumWords = sizeof(ExactSum) / sizeof(int64_t);
static_assert(kSumWords * sizeof(int64_t) == sizeof(ExactSum));
}  // namespace

Tensor exact_sums(const Exec& exec, int64_t n) { return Tensor::zeros(exec, DType::i64, {n, kSumWords}); }

ExactSum exact_sum(const Tensor& sums, int64_t which) {
  ExactSum sum;
  std::memcpy(static_cast<void*>(&sum), sums.row_range(which, 1).data<int64_t>(), sizeof sum);
  return sum;
}

void add_squares(const Exec& exec, const Tensor& x, const Tensor& sum) {
  check(sum.dtype() == DType::i64 && sum.count() == kSumWords, ErrorKind::internal, "squares are added to a sum {} {}",
        dtype_name(sum.dtype()), shape_text(sum.shape()));
  const Extent flat = extent({&x});
  // Lines begin with the rows: long lines may stand for the rows only where they begin together.
  const Extent e = x.cols() % kSquaresLine == 0 || x.rows() <= 1 ? flat : Extent{x.rows(), x.cols(), false};
  std::vector<ExactSum> workers(size_t(exec.compute->n_threads()));
  const SumOfSquares args{.x = rows_in(e, x, "sum_of_squares x"),
                          .rows = e.rows,
                          .cols = e.cols,
                          .result = static_cast<ExactSum*>(sum.raw()),
                          .workers = workers.data(),
                          .lane = exec.compute};
  kernels::sum_of_squares(twin(exec, args.x.dtype == DType::f64), args);
}

double sum_of_squares(const Exec& exec, const Tensor& x) {
  const Tensor sum = exact_sums(exec, 1);
  add_squares(exec, x, sum);
  return exact_sum(host_copy(sum), 0).value();
}

bool all_finite(const Exec& exec, const Tensor& x) {
  const Tensor result = Tensor::from(exec, std::vector<uint8_t>{1}, {1});
  const Extent e = extent({&x});
  const AllFinite args{.x = rows_in(e, x, "all_finite x"),
                       .rows = e.rows,
                       .cols = e.cols,
                       .result = static_cast<bool*>(result.raw()),
                       .lane = exec.compute};
  kernels::all_finite(twin(exec, args.x.dtype == DType::f64), args);
  return *host_copy(result).data<uint8_t>() != 0;
}

}  // namespace hadal::ops
