#include "ops/row_sums.h"

#include "kernels/row_sums.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {
namespace {

// Kernels trust lists: they are inside the rows, and at least this long each.
const int32_t* checked_begins(const RowLists& lists, int64_t n, int64_t rows, int32_t least, const char* op) {
  check(lists.begin.count() == n + 1, ErrorKind::internal, "{}: {} bounds of lists for {} sums, must be {}", op,
        lists.begin.count(), n, n + 1);
  const int32_t* begin = i32_vector(lists.begin, n + 1, "bounds of lists");
  if (!lists.begin.on_host()) return begin;  // as check_ids
  check(begin[0] == 0 && begin[n] == lists.index.count(), ErrorKind::internal,
        "{}: lists from {} to {} of {} indexes, must name all", op, begin[0], begin[n], lists.index.count());
  for (int64_t i = 0; i < n; ++i)
    check(begin[i + 1] >= begin[i] + least, ErrorKind::internal,
          "{}: list {} goes from {} to {}, must name at least {}", op, i, begin[i], begin[i + 1], least);
  i32_vector(lists.index, lists.index.count(), "index of rows");
  check_ids(lists.index, 0, rows, "index of row");
  return begin;
}

}  // namespace

void group_sums(const Exec& exec, const Tensor& y, const Tensor& x, const RowLists& lists, const Tensor& weights) {
  kernels::GroupSums args{.y = kernel_rows(y, "group sums"), .x = kernel_rows(x, "rows to sum")};
  const bool f64 = all_f64({args.y, args.x}, "group_sums");
  check_shape(y, y.rows(), x.cols(), "group sums");
  args.n = y.rows(), args.cols = y.cols(), args.lane = exec.compute;
  args.begin = checked_begins(lists, args.n, x.rows(), 0, "group_sums");
  args.index = lists.index.address<int32_t>();
  if (weights) args.weights = wide_vector(weights, lists.index.count(), f64, "weights of rows");
  kernels::group_sums(kernels::twin(exec, f64), args);
}

void group_totals(const Exec& exec, const Tensor& y, const Tensor& x, const RowLists& lists, Write write) {
  kernels::GroupTotals args{.y = kernel_rows(y, "group totals"), .x = kernel_rows(x, "group sums")};
  const bool f64 = all_f64({args.y, args.x}, "group_totals");
  check_shape(y, y.rows(), x.cols(), "group totals");
  args.n = y.rows(), args.cols = y.cols(), args.add = write == Write::add, args.lane = exec.compute;
  args.begin = checked_begins(lists, args.n, x.rows(), 1, "group_totals");
  args.index = lists.index.address<int32_t>();
  kernels::group_totals(kernels::twin(exec, f64), args);
}

}  // namespace hadal::ops
