// Tensor handles and views; conversions are kernels/convert.h's.
#include "tensor/tensor.h"

#include <fmt/ranges.h>

#include <cstring>

#include "base/error.h"
#include "kernels/convert.h"

namespace hadal {
int64_t shape_count(const Shape& shape) {
  int64_t count = 1;
  bool empty = false;
  for (int64_t size : shape) {
    check(size >= 0, ErrorKind::invalid, "shape {} has a negative size", shape_text(shape));
    empty = empty || size == 0;
  }
  if (empty) return 0;
  for (int64_t size : shape) {
    check(!__builtin_mul_overflow(count, size, &count), ErrorKind::invalid, "shape {} has more than 2^63 elements",
          shape_text(shape));
  }
  return count;
}

ShapeText::operator std::string() const { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Tensor Tensor::empty(const Exec& exec, DType dtype, Shape shape) {
  check(exec.memory != nullptr, ErrorKind::internal, "this Exec has no memory pool");
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape_count(shape), dtype_bytes(dtype), &bytes), ErrorKind::invalid,
        "a tensor of shape {} has more than 2^63 bytes", shape_text(shape));
  std::shared_ptr<void> owner = exec.memory->allocate(size_t(bytes));
  return wrap(owner.get(), dtype, std::move(shape), -1, owner);
}

Tensor Tensor::zeros(const Exec& exec, DType dtype, Shape shape) {
  Tensor tensor = empty(exec, dtype, std::move(shape));
  tensor.zero(exec);
  return tensor;
}

Tensor Tensor::wrap(void* data, DType dtype, Shape shape, int64_t row_stride, std::shared_ptr<void> owner) {
  Tensor tensor;
  shape_count(shape);
  tensor.data_ = data;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.row_stride_ = row_stride < 0 ? tensor.cols() : row_stride;
  check(tensor.row_stride_ >= tensor.cols() || tensor.rows() <= 1, ErrorKind::invalid,
        "row stride {} is smaller than a row of {}", tensor.row_stride_, shape_text(tensor.shape_));
  tensor.owner_ = std::move(owner);
  return tensor;
}

template <class T>
Tensor Tensor::from(const Exec& exec, const std::vector<T>& values, Shape shape) {
  check(shape_count(shape) == int64_t(values.size()), ErrorKind::invalid, "{} values do not fill shape {}",
        values.size(), shape_text(shape));
  Tensor tensor = empty(exec, dtype_of<T>(), std::move(shape));
  if (!values.empty()) std::memcpy(tensor.data_, values.data(), values.size() * sizeof(T));
  return tensor;
}

template Tensor Tensor::from(const Exec&, const std::vector<double>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<float>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<bf16>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<int64_t>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<int32_t>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<uint8_t>&, Shape);

int64_t Tensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape_.size(); ++i) rows *= shape_[i];
  return rows;
}

template <class T>
T* Tensor::data() const {
  check(dtype_ == dtype_of<T>(), ErrorKind::internal, "a tensor of {} is read as {}", dtype_name(dtype_),
        dtype_name(dtype_of<T>()));
  return static_cast<T*>(data_);
}

template double* Tensor::data() const;
template float* Tensor::data() const;
template bf16* Tensor::data() const;
template int64_t* Tensor::data() const;
template int32_t* Tensor::data() const;
template uint8_t* Tensor::data() const;

Tensor Tensor::view(Shape shape) const {
  check(contiguous(), ErrorKind::internal, "a view needs a contiguous tensor; {} has row stride {}", shape_text(shape_),
        row_stride_);
  check(shape_count(shape) == count(), ErrorKind::internal, "a view of {} cannot have shape {}", shape_text(shape_),
        shape_text(shape));
  return wrap(data_, dtype_, std::move(shape), -1, owner_);
}

Tensor Tensor::row_range(int64_t first, int64_t n) const {
  check(first >= 0 && n >= 0 && first + n <= rows(), ErrorKind::internal, "rows {}..{} are not in {}", first, first + n,
        shape_text(shape_));
  return wrap(static_cast<char*>(data_) + first * row_stride_ * dtype_bytes(dtype_), dtype_, {n, cols()}, row_stride_,
              owner_);
}

Tensor Tensor::col_range(int64_t first, int64_t n) const {
  check(first >= 0 && n >= 0 && first + n <= cols(), ErrorKind::internal, "columns {}..{} are not in {}", first,
        first + n, shape_text(shape_));
  return wrap(static_cast<char*>(data_) + first * dtype_bytes(dtype_), dtype_, {rows(), n}, row_stride_, owner_);
}

Tensor Tensor::slice(int64_t index) const {
  check(contiguous() && !shape_.empty() && index >= 0 && index < shape_[0], ErrorKind::internal,
        "index {} is not in the first dimension of {} (contiguous tensors only)", index, shape_text(shape_));
  Shape rest(shape_.begin() + 1, shape_.end());
  return wrap(static_cast<char*>(data_) + index * shape_count(rest) * dtype_bytes(dtype_), dtype_, rest, -1, owner_);
}

namespace {

// Contiguous tensors are seen as rows of this many elements, so that threads share one long vector too.
constexpr int64_t kLine = 4096;

struct Lines {
  int64_t rows, cols, stride;
};
Lines lines_of(const Tensor& tensor, bool dense) {
  const int64_t count = tensor.count();
  if (!dense) return {tensor.rows(), tensor.cols(), tensor.row_stride()};
  if (count % kLine == 0) return {count / kLine, kLine, kLine};
  return {1, count, count};
}

// Which twin and which threads: those of the Exec, or none.
void convert(const Exec* exec, const Tensor& to, const Tensor& from) {
  check(from.count() == to.count(), ErrorKind::internal, "cannot copy {} into {}", shape_text(from.shape()),
        shape_text(to.shape()));
  if (to.count() == 0) return;
  const bool dense = to.contiguous() && from.contiguous();
  check(dense || from.cols() == to.cols(), ErrorKind::internal, "cannot copy rows of {} into rows of {}", from.cols(),
        to.cols());
  const Lines y = lines_of(to, dense), x = lines_of(from, dense);
  const kernels::Convert args{.y = {to.raw(), y.stride, to.dtype()},
                              .x = {from.raw(), x.stride, from.dtype()},
                              .rows = y.rows,
                              .cols = y.cols,
                              .lane = exec ? exec->compute : nullptr};
  kernels::convert(exec ? kernels::twin(*exec, false) : kernels::Twin{}, args);
}

void zero_all(const Exec* exec, const Tensor& tensor) {
  if (tensor.count() == 0) return;
  const Lines y = lines_of(tensor, tensor.contiguous());
  kernels::zero_rows(exec ? kernels::twin(*exec, false) : kernels::Twin{},
                     {.y = {tensor.raw(), y.stride, tensor.dtype()},
                      .rows = y.rows,
                      .cols = y.cols,
                      .lane = exec ? exec->compute : nullptr});
}

}  // namespace

Tensor Tensor::clone(const Exec& exec) const { return to(exec, dtype_); }

Tensor Tensor::to(const Exec& exec, DType dtype) const {
  Tensor copy = empty(exec, dtype, shape_);
  copy.copy_from(exec, *this);
  return copy;
}

void Tensor::copy_from(const Exec& exec, const Tensor& source) const { convert(&exec, *this, source); }
void Tensor::copy_from(const Tensor& source) const { convert(nullptr, *this, source); }
void Tensor::zero(const Exec& exec) const { zero_all(&exec, *this); }
void Tensor::zero() const { zero_all(nullptr, *this); }

namespace {
void* address(const Tensor& tensor, int64_t flat) {
  check(flat >= 0 && flat < tensor.count(), ErrorKind::internal, "element {} is not in {}", flat,
        shape_text(tensor.shape()));
  const int64_t offset = flat / tensor.cols() * tensor.row_stride() + flat % tensor.cols();
  return static_cast<char*>(tensor.raw()) + offset * dtype_bytes(tensor.dtype());
}
}  // namespace

double element(const Tensor& tensor, int64_t flat) {
  double value = 0;
  kernels::convert(
      kernels::Twin{},
      {.y = {&value, 1, DType::f64}, .x = {address(tensor, flat), 1, tensor.dtype()}, .rows = 1, .cols = 1});
  return value;
}

void set_element(const Tensor& tensor, int64_t flat, double value) {
  kernels::convert(
      kernels::Twin{},
      {.y = {address(tensor, flat), 1, tensor.dtype()}, .x = {&value, 1, DType::f64}, .rows = 1, .cols = 1});
}

}  // namespace hadal
