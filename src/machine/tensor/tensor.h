// Tensor: a pointer, a dtype, a shape, a row stride and an owner. No operators, no autograd: layers say what happens.
// The last dimension is contiguous; all leading dimensions are seen as rows, `row_stride` elements apart (rows() *
// cols()). Copying a Tensor copies the handle. Views share the owner.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/exec.h"

namespace hadal {

using Shape = std::vector<int64_t>;
int64_t shape_count(const Shape& shape);  // product; throws invalid on a negative size or overflow of int64
// "[3, 128]", made where a message is made of it: the checks of shapes that hold cost nothing.
struct ShapeText {
  const Shape& shape;
  operator std::string() const;
};
inline ShapeText shape_text(const Shape& shape) { return {shape}; }

class Tensor {
 public:
  Tensor() = default;
  static Tensor empty(const Exec& exec, DType dtype, Shape shape);  // uninitialised, from the exec's memory pool
  static Tensor zeros(const Exec& exec, DType dtype, Shape shape);
  static Tensor wrap(void* data, DType dtype, Shape shape, int64_t row_stride = -1,
                     std::shared_ptr<void> owner = nullptr);
  template <class T>
  static Tensor from(const Exec& exec, const std::vector<T>& values, Shape shape);  // copies

  explicit operator bool() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i < 0 ? i + shape_.size() : i]; }
  int64_t count() const { return rows() * cols(); }
  int64_t cols() const { return shape_.empty() ? 1 : shape_.back(); }
  int64_t rows() const;                               // product of all but the last dimension
  int64_t row_stride() const { return row_stride_; }  // in elements
  bool contiguous() const { return row_stride_ == cols() || rows() <= 1; }
  int64_t bytes() const { return count() * dtype_bytes(dtype_); }

  void* raw() const { return data_; }
  const std::shared_ptr<void>& owner() const { return owner_; }  // of the memory; null: somebody else keeps it
  template <class T>
  T* data() const;  // for the host: throws internal when T is not the dtype, or the memory a device's
  template <class T>
  T* address() const;  // for kernels, wherever it lies; throws internal when T is not the dtype

  OpenDevice* device() const { return device_; }  // whose memory it lies in; null: the host's
  bool on_host() const { return device_ == nullptr; }

  Tensor view(Shape shape) const;                        // same elements, contiguous only
  Tensor row_range(int64_t first, int64_t count) const;  // rows of the 2-D view [rows, cols]
  Tensor col_range(int64_t first, int64_t count) const;  // columns of the 2-D view; keeps the row stride
  Tensor slice(int64_t index) const;                     // index along the first dimension of a contiguous tensor

  Tensor clone(const Exec& exec) const;            // contiguous copy
  Tensor to(const Exec& exec, DType dtype) const;  // converted contiguous copy (floating types)
  // Same count; converts dtype; writes our elements, from any memory to any. Without an Exec: in the caller alone, for
  // few elements. Between host and device other formats are converted on the host.
  void copy_from(const Exec& exec, const Tensor& source) const;
  void copy_from(const Tensor& source) const;
  void zero(const Exec& exec) const;
  void zero() const;
  void reset() { *this = Tensor(); }

 private:
  Tensor part(int64_t first, Shape shape, int64_t row_stride) const;  // from element `first` on, same owner

  void* data_ = nullptr;
  DType dtype_ = DType::f32;
  Shape shape_;
  int64_t row_stride_ = 0;
  std::shared_ptr<void> owner_;
  OpenDevice* device_ = nullptr;
};

// Tensors as the host reads them: those in its memory themselves, of those on a device contiguous copies, all of them
// with one wait for it.
std::vector<Tensor> host_copies(const std::vector<Tensor>& tensors);
Tensor host_copy(const Tensor& tensor);

double element(const Tensor& tensor, int64_t flat);  // for tests, prints and slow paths
void set_element(const Tensor& tensor, int64_t flat, double value);

}  // namespace hadal

template <>
struct fmt::formatter<hadal::ShapeText> : fmt::formatter<std::string> {
  auto format(const hadal::ShapeText& text, fmt::format_context& context) const {
    return fmt::formatter<std::string>::format(text, context);
  }
};
