// Tensor handles, views and conversions. Conversion goes through float (double where one side is double).
#include "tensor/tensor.h"

#include <fmt/ranges.h>

#include <cstring>

#include "base/error.h"
#include "base/float_formats.h"

namespace hadal {
namespace {

// Calls f with a null pointer of the element type.
template <class F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return f(static_cast<double*>(nullptr));
    case DType::f32: return f(static_cast<float*>(nullptr));
    case DType::bf16: return f(static_cast<bf16*>(nullptr));
    case DType::f16: return f(static_cast<f16*>(nullptr));
    case DType::f8_e4m3: return f(static_cast<e4m3*>(nullptr));
    case DType::i64: return f(static_cast<int64_t*>(nullptr));
    case DType::i32: return f(static_cast<int32_t*>(nullptr));
    case DType::u8: return f(static_cast<uint8_t*>(nullptr));
    case DType::f8_e8m0: return f(static_cast<e8m0*>(nullptr));
  }
  fail(ErrorKind::internal, "unknown dtype {}", int(dtype));
}

template <class T>
constexpr bool kSmallFloat =
    std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, e4m3> || std::is_same_v<T, e8m0>;

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (kSmallFloat<From>) {
    return convert<To>(float(value));
  } else if constexpr (kSmallFloat<To>) {
    return To(float(value));
  } else {
    return To(value);
  }
}

}  // namespace

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

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

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
  tensor.zero();
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

Tensor Tensor::clone(const Exec& exec) const { return to(exec, dtype_); }

Tensor Tensor::to(const Exec& exec, DType dtype) const {
  Tensor copy = empty(exec, dtype, shape_);
  copy.copy_from(*this);
  return copy;
}

void Tensor::copy_from(const Tensor& source) const {
  check(source.count() == count(), ErrorKind::internal, "cannot copy {} into {}", shape_text(source.shape_),
        shape_text(shape_));
  if (count() == 0) return;
  dispatch(source.dtype_, [&](auto* from_type) {
    dispatch(dtype_, [&](auto* to_type) {
      using From = std::remove_pointer_t<decltype(from_type)>;
      using To = std::remove_pointer_t<decltype(to_type)>;
      const From* from = static_cast<const From*>(source.data_);
      To* to = static_cast<To*>(data_);
      const bool dense = contiguous() && source.contiguous();
      check(dense || source.cols() == cols(), ErrorKind::internal, "cannot copy rows of {} into rows of {}",
            source.cols(), cols());
      const int64_t n_rows = dense ? 1 : rows(), n_cols = dense ? count() : cols();
      for (int64_t r = 0; r < n_rows; ++r, from += source.row_stride_, to += row_stride_) {
        if constexpr (std::is_same_v<From, To>) {
          std::memmove(to, from, size_t(n_cols) * sizeof(To));
        } else {
          for (int64_t c = 0; c < n_cols; ++c) to[c] = convert<To>(from[c]);
        }
      }
    });
  });
}

void Tensor::zero() const {
  if (count() == 0) return;
  const int64_t size = dtype_bytes(dtype_);
  if (contiguous()) {
    std::memset(data_, 0, size_t(bytes()));
    return;
  }
  for (int64_t r = 0; r < rows(); ++r)
    std::memset(static_cast<char*>(data_) + r * row_stride_ * size, 0, cols() * size);
}

namespace {
void* address(const Tensor& tensor, int64_t flat) {
  check(flat >= 0 && flat < tensor.count(), ErrorKind::internal, "element {} is not in {}", flat,
        shape_text(tensor.shape()));
  const int64_t offset = flat / tensor.cols() * tensor.row_stride() + flat % tensor.cols();
  return static_cast<char*>(tensor.raw()) + offset * dtype_bytes(tensor.dtype());
}
}  // namespace

double element(const Tensor& tensor, int64_t flat) {
  void* at = address(tensor, flat);
  return dispatch(tensor.dtype(), [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return convert<double>(*static_cast<T*>(at));
  });
}

void set_element(const Tensor& tensor, int64_t flat, double value) {
  void* at = address(tensor, flat);
  dispatch(tensor.dtype(), [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    *static_cast<T*>(at) = convert<T>(value);
  });
}

}  // namespace hadal
