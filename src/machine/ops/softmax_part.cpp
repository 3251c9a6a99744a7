#include "ops/softmax_part.h"

#include "kernels/softmax_part.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {
namespace {

// The logits as kernels see them, after the checks that both ops make.
kernels::Rows checked_logits(const Tensor& logits, const Tensor& targets) {
  const kernels::Rows rows = kernel_rows(logits, "a part's logits");
  check(!is_half(rows.dtype), ErrorKind::invalid, "a part's logits are {}, expected F32 or F64",
        dtype_name(rows.dtype));
  check(logits.cols() > 0, ErrorKind::invalid, "a part's logits have no columns");
  i32_vector(targets, logits.rows(), "a part's targets");
  check_ids(targets, -1, logits.cols(), "a part's target of row");
  return rows;
}

}  // namespace

void softmax_statistics(const Exec& exec, const Tensor& logits, const Tensor& targets, const Tensor& statistics,
                        bool keep) {
  const kernels::Rows x = checked_logits(logits, targets);
  const bool f64 = x.dtype == DType::f64;
  kernels::softmax_statistics(kernels::twin(exec, f64),
                              {.logits = x,
                               .targets = targets.address<int32_t>(),
                               .statistics = wide_vector(statistics, 4 * logits.rows(), f64, "statistics"),
                               .rows = logits.rows(),
                               .cols = logits.cols(),
                               .keep = keep,
                               .lane = exec.compute});
}

void softmax_gradient(const Exec& exec, const Tensor& logits, const Tensor& targets, const Tensor& factors) {
  const kernels::Rows x = checked_logits(logits, targets);
  const bool f64 = x.dtype == DType::f64;
  kernels::softmax_gradient(kernels::twin(exec, f64),
                            {.logits = x,
                             .targets = targets.address<int32_t>(),
                             .factors = wide_vector(factors, 2 * logits.rows(), f64, "factors of rows"),
                             .rows = logits.rows(),
                             .cols = logits.cols(),
                             .lane = exec.compute});
}

}  // namespace hadal::ops
