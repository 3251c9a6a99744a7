// Tensor handles and views; conversions are kernels/convert.h's.
#include "tensor/tensor.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <span>

#include "base/error.h"
#include "base/float_formats.h"
#include "base/open_device.h"
#include "kernels/convert.h"
#include "tensor/stretches.h"

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
  Tensor tensor = wrap(owner.get(), dtype, std::move(shape), -1, owner);
  tensor.device_ = exec.memory->device();
  return tensor;
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
  if (values.empty()) return tensor;
  if (tensor.device_) {
    tensor.device_->upload(tensor.data_, values.data(), tensor.bytes());
  } else {
    std::memcpy(tensor.data_, values.data(), values.size() * sizeof(T));
  }
  return tensor;
}

template Tensor Tensor::from(const Exec&, const std::vector<double>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<float>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<bf16>&, Shape);
template Tensor Tensor::from(const Exec&, const std::vector<f16>&, Shape);
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
  check(on_host(), ErrorKind::internal, "a tensor {} {} in the memory of {} is read by the host", dtype_name(dtype_),
        shape_text(shape_), device_ ? device_name(device_->device()) : "");
  return address<T>();
}

template <class T>
T* Tensor::address() const {
  check(dtype_ == dtype_of<T>(), ErrorKind::internal, "a tensor of {} is read as {}", dtype_name(dtype_),
        dtype_name(dtype_of<T>()));
  return static_cast<T*>(data_);
}

#define HADAL_ELEMENT_TYPE(T)       \
  template T* Tensor::data() const; \
  template T* Tensor::address() const;
HADAL_ELEMENT_TYPE(double)
HADAL_ELEMENT_TYPE(float)
HADAL_ELEMENT_TYPE(bf16)
HADAL_ELEMENT_TYPE(f16)
HADAL_ELEMENT_TYPE(int64_t)
HADAL_ELEMENT_TYPE(int32_t)
HADAL_ELEMENT_TYPE(uint8_t)
#undef HADAL_ELEMENT_TYPE

Tensor Tensor::part(int64_t first, Shape shape, int64_t row_stride) const {
  Tensor tensor =
      wrap(static_cast<char*>(data_) + first * dtype_bytes(dtype_), dtype_, std::move(shape), row_stride, owner_);
  tensor.device_ = device_;
  return tensor;
}

Tensor Tensor::view(Shape shape) const {
  check(contiguous(), ErrorKind::internal, "a view needs a contiguous tensor; {} has row stride {}", shape_text(shape_),
        row_stride_);
  check(shape_count(shape) == count(), ErrorKind::internal, "a view of {} cannot have shape {}", shape_text(shape_),
        shape_text(shape));
  return part(0, std::move(shape), -1);
}

Tensor Tensor::row_range(int64_t first, int64_t n) const {
  check(first >= 0 && n >= 0 && first + n <= rows(), ErrorKind::internal, "rows {}..{} are not in {}", first, first + n,
        shape_text(shape_));
  return part(first * row_stride_, {n, cols()}, row_stride_);
}

Tensor Tensor::col_range(int64_t first, int64_t n) const {
  check(first >= 0 && n >= 0 && first + n <= cols(), ErrorKind::internal, "columns {}..{} are not in {}", first,
        first + n, shape_text(shape_));
  return part(first, {rows(), n}, row_stride_);
}

Tensor Tensor::slice(int64_t index) const {
  check(contiguous() && !shape_.empty() && index >= 0 && index < shape_[0], ErrorKind::internal,
        "index {} is not in the first dimension of {} (contiguous tensors only)", index, shape_text(shape_));
  Shape rest(shape_.begin() + 1, shape_.end());
  const int64_t each = shape_count(rest);
  return part(index * each, std::move(rest), -1);
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
void convert_in_place(const Exec* exec, const Tensor& to, const Tensor& from) {
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

// A contiguous tensor of the host's, beside all pools.
Tensor host_buffer(DType dtype, const Shape& shape) {
  const size_t bytes = size_t(std::max<int64_t>(1, shape_count(shape) * dtype_bytes(dtype)));
  std::shared_ptr<void> owner(::operator new(bytes), [](void* memory) { ::operator delete(memory); });
  return Tensor::wrap(owner.get(), dtype, shape, -1, owner);
}

void upload(const Tensor& to, const Tensor& from) {
  Tensor source = from;
  if (from.dtype() != to.dtype() || !from.contiguous()) {
    source = host_buffer(to.dtype(), from.shape());
    convert_in_place(nullptr, source, from);
  }
  const char* next = static_cast<const char*>(source.raw());
  each_stretch(to, [&](int64_t element, int64_t bytes) {
    to.device()->upload(place_in(to, element), next, bytes);
    next += bytes;
  });
}

// What computes on tensors of the host at a place whose own tensors may lie on a device.
struct HostSide {
  explicit HostSide(const Exec* at) : exec(at) {
    if (at && at->memory->device()) of_device = at->on_host(), exec = &of_device;
  }
  Exec of_device;
  const Exec* exec;
};

void convert(const Exec* exec, const Tensor& to, const Tensor& from) {
  check(from.count() == to.count(), ErrorKind::internal, "cannot copy {} into {}", shape_text(from.shape()),
        shape_text(to.shape()));
  if (to.count() == 0) return;
  if (to.on_host()) {
    const HostSide host(exec);
    return convert_in_place(host.exec, to, from.on_host() ? from : host_copy(from));
  }
  if (from.on_host()) return upload(to, from);
  if (exec) return convert_in_place(exec, to, from);
  check(to.dtype() == from.dtype() && to.contiguous() && from.contiguous(), ErrorKind::internal,
        "{} {} is copied into {} {} on a device, which without an Exec takes one format and no gaps",
        dtype_name(from.dtype()), shape_text(from.shape()), dtype_name(to.dtype()), shape_text(to.shape()));
  to.device()->copy(to.raw(), from.raw(), to.bytes());
}

void zero_all(const Exec* exec, const Tensor& tensor) {
  if (tensor.count() == 0) return;
  if (!tensor.on_host() && exec == nullptr)  // zero is all bits zero in every format
    return each_stretch(
        tensor, [&](int64_t element, int64_t bytes) { tensor.device()->fill(place_in(tensor, element), 0, bytes); });
  const HostSide host(tensor.on_host() ? exec : nullptr);
  if (tensor.on_host()) exec = host.exec;
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
  uint64_t copied = 0;  // of any element's size
  void* from = address(tensor, flat);
  if (!tensor.on_host()) {
    const OpenDevice::Download part{&copied, from, dtype_bytes(tensor.dtype())};
    tensor.device()->download(std::span(&part, 1));
    from = &copied;
  }
  double value = 0;
  kernels::convert(kernels::Twin{},
                   {.y = {&value, 1, DType::f64}, .x = {from, 1, tensor.dtype()}, .rows = 1, .cols = 1});
  return value;
}

void set_element(const Tensor& tensor, int64_t flat, double value) {
  uint64_t copied = 0;
  void* to = address(tensor, flat);
  kernels::convert(
      kernels::Twin{},
      {.y = {tensor.on_host() ? to : &copied, 1, tensor.dtype()}, .x = {&value, 1, DType::f64}, .rows = 1, .cols = 1});
  if (!tensor.on_host()) tensor.device()->upload(to, &copied, dtype_bytes(tensor.dtype()));
}

}  // namespace hadal
