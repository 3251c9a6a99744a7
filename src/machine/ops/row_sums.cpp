#include "ops/row_sums.h"

#include "kernels/row_sums.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {
namespace {

// Kernels trust lists: they are inside the rows, and at least this long each.
const int32_t* checked_begins(const RowLists& lists, int64_t n, const std::vector<Tensor>& x, int32_t least,
                              const char* op) {
  check(lists.begin.count() == n + 1, ErrorKind::internal, "{}: {} bounds of lists for {} sums, must be {}", op,
        lists.begin.count(), n, n + 1);
  const int32_t* begin = i32_vector(lists.begin, n + 1, "bounds of lists");
  if (!lists.begin.on_host()) return begin;  // as check_ids
  const int64_t n_named = lists.index.count() / 2;
  check(begin[0] == 0 && begin[n] == n_named, ErrorKind::internal,
        "{}: lists from {} to {} of {} indexes, must name all", op, begin[0], begin[n], n_named);
  for (int64_t i = 0; i < n; ++i)
    check(begin[i + 1] >= begin[i] + least, ErrorKind::internal,
          "{}: list {} goes from {} to {}, must name at least {}", op, i, begin[i], begin[i + 1], least);
  const int32_t* index = i32_vector(lists.index, 2 * n_named, "index of rows");
  for (int64_t j = 0; j < n_named; ++j) {
    const int32_t source = index[2 * j], row = index[2 * j + 1];
    check(source >= 0 && size_t(source) < x.size(), ErrorKind::invalid,
          "{}: row {} is to be found in tensor {}, expected 0 to {}", op, j, source, int64_t(x.size()) - 1);
    check(row >= 0 && row < x[size_t(source)].rows(), ErrorKind::invalid,
          "{}: row {} is row {} of tensor {}, expected 0 to {}", op, j, row, source, x[size_t(source)].rows() - 1);
  }
  return begin;
}

// y and all of x are of one precision; x of one format, and as wide as y. Fills in what both kernels' arguments share.
template <class Args>
std::vector<kernels::Rows> describe(Args& args, const Exec& exec, const Tensor& y, const std::vector<Tensor>& x,
                                    const RowLists& lists, int32_t least, const char* op) {
  check(!x.empty(), ErrorKind::internal, "{}: no rows to sum", op);
  std::vector<kernels::Rows> sources;
  for (const Tensor& rows : x) {
    sources.push_back(kernel_rows(rows, "rows to sum"));
    check(rows.cols() == y.cols() && rows.dtype() == x[0].dtype(), ErrorKind::invalid,
          "{}: {} rows of {} are summed beside {} rows of {} into rows of {}", op, dtype_name(rows.dtype()),
          rows.cols(), dtype_name(x[0].dtype()), x[0].cols(), y.cols());
  }
  args.y = kernel_rows(y, "sums"), args.x = {sources.data(), int64_t(sources.size())};
  args.n = y.rows(), args.cols = y.cols(), args.lane = exec.compute;
  args.begin = checked_begins(lists, args.n, x, least, op);
  args.index = lists.index.address<int32_t>();
  return sources;
}

}  // namespace

void group_sums(const Exec& exec, const Tensor& y, const std::vector<Tensor>& x, const RowLists& lists,
                const Tensor& weights) {
  kernels::GroupSums args;
  const std::vector<kernels::Rows> sources = describe(args, exec, y, x, lists, 0, "group_sums");
  const bool f64 = all_f64({args.y, sources[0]}, "group_sums");
  if (weights) args.weights = wide_vector(weights, lists.index.count() / 2, f64, "weights of rows");
  kernels::group_sums(kernels::twin(exec, f64), args);
}

void group_totals(const Exec& exec, const Tensor& y, const std::vector<Tensor>& x, const RowLists& lists, Write write) {
  kernels::GroupTotals args;
  const std::vector<kernels::Rows> sources = describe(args, exec, y, x, lists, 1, "group_totals");
  const bool f64 = all_f64({args.y, sources[0]}, "group_totals");
  args.add = write == Write::add;
  kernels::group_totals(kernels::twin(exec, f64), args);
}

}  // namespace hadal::ops
