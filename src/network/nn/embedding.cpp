#include "nn/embedding.h"

#include <algorithm>

#include "base/error.h"
#include "ops/pointwise.h"

namespace hadal {

Tensor Embedding::forward(const Exec& exec, const Tensor& ids, DType dtype) const {
  const Tensor y = Tensor::empty(exec, dtype, {ids.count(), weight->box.size[1]});
  ops::embedding(exec, y, weight->value, ids);
  return y;
}

void Embedding::backward_weight(const Exec& exec, const Tensor& dy, const Tensor& ids) const {
  weight->contribute(
      [&](const Tensor& grad, ops::Write write) { ops::embedding_backward_weight(exec, grad, dy, ids, write); });
}

namespace {
template <class T, class Wide>
void add_rows_as(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index) {
  constexpr int64_t kRowsPerTask = 64;
  const int64_t n_rows = index.count(), n_cols = src.cols();
  const int32_t* rows = index.data<int32_t>();
  exec.compute->parallel_for((n_rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    for (int64_t r = task * kRowsPerTask; r < std::min(n_rows, (task + 1) * kRowsPerTask); ++r) {
      T* to = dst.data<T>() + rows[r] * dst.row_stride();
      const T* from = src.data<T>() + r * src.row_stride();
      for (int64_t c = 0; c < n_cols; ++c) to[c] = T(Wide(to[c]) + Wide(from[c]));
    }
  });
}
}  // namespace

void add_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index) {
  check(src.rows() == index.count() && src.cols() == dst.cols() && src.dtype() == dst.dtype(), ErrorKind::internal,
        "add_rows: {} rows of {} {} do not fit {} indexes into {} {}", src.rows(), src.cols(), dtype_name(src.dtype()),
        index.count(), dst.cols(), dtype_name(dst.dtype()));
  if (src.dtype() == DType::f64) return add_rows_as<double, double>(exec, dst, src, index);
  if (src.dtype() == DType::f32) return add_rows_as<float, float>(exec, dst, src, index);
  add_rows_as<bf16, float>(exec, dst, src, index);
}

}  // namespace hadal
