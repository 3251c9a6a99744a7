// From tensors to kernel arguments, for the row-wise ops: checks of dtype and shape whose messages name op, tensor and
// sizes.
#pragma once
#include <initializer_list>

#include "base/error.h"
#include "kernels/array.h"
#include "tensor/tensor.h"

namespace hadal::ops {

// A floating matrix as kernels see it: f64, f32, bf16 or f16; anything else throws.
inline kernels::Rows kernel_rows(const Tensor& tensor, const char* what) {
  const DType dtype = tensor.dtype();
  check(dtype == DType::f64 || dtype == DType::f32 || is_half(dtype), ErrorKind::invalid,
        "{} is {}; this op takes F64, F32, BF16 or F16", what, dtype_name(dtype));
  return {tensor.raw(), tensor.row_stride(), dtype};
}

inline void check_shape(const Tensor& tensor, int64_t rows, int64_t cols, const char* what) {
  check(tensor.rows() == rows && tensor.cols() == cols, ErrorKind::invalid, "{} is {}, expected {} rows of {}", what,
        shape_text(tensor.shape()), rows, cols);
}

// A vector of `count` contiguous elements in the format of inner arithmetic: f64 beside f64 operands, else f32.
inline void* wide_vector(const Tensor& tensor, int64_t count, bool f64, const char* what) {
  check(tensor.count() == count && (tensor.contiguous() || (tensor.cols() == 1 && tensor.row_stride() == 1)),
        ErrorKind::invalid, "{} is {}, expected {} contiguous elements", what, shape_text(tensor.shape()), count);
  check(tensor.dtype() == (f64 ? DType::f64 : DType::f32), ErrorKind::invalid, "{} is {}, expected {}", what,
        dtype_name(tensor.dtype()), f64 ? "F64" : "F32");
  return tensor.raw();
}

// Whether the operands are in reference precision: all f64 or none of them.
inline bool all_f64(std::initializer_list<kernels::Rows> operands, const char* op) {
  int64_t n_f64 = 0;
  for (const kernels::Rows& rows : operands) n_f64 += rows.dtype == DType::f64;
  check(n_f64 == 0 || n_f64 == int64_t(operands.size()), ErrorKind::invalid,
        "{}: F64 operands cannot be mixed with others", op);
  return n_f64 > 0;
}

// `count` contiguous i32: ids, positions, targets, counts.
inline const int32_t* i32_vector(const Tensor& tensor, int64_t count, const char* what) {
  check(tensor.dtype() == DType::i32 && tensor.count() == count && tensor.contiguous(), ErrorKind::invalid,
        "{} is {} {}, expected {} contiguous I32", what, dtype_name(tensor.dtype()), shape_text(tensor.shape()), count);
  return static_cast<const int32_t*>(tensor.raw());
}

// Offsets of groups of rows, i32 [groups + 1]: ascending, inside the rows. Kernels trust them.
inline const int32_t* group_offsets(const char* op, const Tensor& offsets, int64_t groups, int64_t rows) {
  check(offsets.count() == groups + 1, ErrorKind::internal, "{}: {} offsets for {} groups, must be {}", op,
        offsets.count(), groups, groups + 1);
  i32_vector(offsets, groups + 1, "offsets");
  const int32_t* begins = offsets.data<int32_t>();
  check(begins[0] >= 0 && begins[groups] <= rows, ErrorKind::internal, "{}: offsets {}..{} leave the {} rows", op,
        begins[0], begins[groups], rows);
  for (int64_t e = 0; e < groups; ++e)
    check(begins[e] <= begins[e + 1], ErrorKind::internal, "{}: offsets fall from {} to {} at group {}", op, begins[e],
          begins[e + 1], e);
  return begins;
}

// Every id must be in [lowest, count): kernels trust them. Lists on a device are not looked at: they were made there,
// or of lists that the host has checked.
inline void check_ids(const Tensor& list, int64_t lowest, int64_t count, const char* what) {
  if (!list.on_host()) return;
  const int32_t* ids = static_cast<const int32_t*>(list.raw());
  for (int64_t i = 0; i < list.count(); ++i)
    if (ids[i] < lowest || ids[i] >= count)
      fail(ErrorKind::invalid, "{} {} is {}, expected {} to {}", what, i, ids[i], lowest, count - 1);
}

}  // namespace hadal::ops
