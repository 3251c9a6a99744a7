// Helpers of the tests of row-wise ops: matrices of doubles, tensors made from them as views inside a larger buffer
// (whose surroundings must stay untouched), and a walk over every instruction set and number format.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "ops/devices_fixture.h"
#include "ops/routing.h"
#include "tensor/tensor.h"

namespace hadal::rows_test {

struct Mat {
  int64_t rows = 0, cols = 0;
  std::vector<double> v;
  Mat() = default;
  Mat(int64_t rows, int64_t cols, double value = 0) : rows(rows), cols(cols), v(size_t(rows * cols), value) {}
  double& at(int64_t r, int64_t c) { return v[size_t(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return v[size_t(r * cols + c)]; }
};

inline Mat random_mat(int64_t rows, int64_t cols, uint64_t seed, double scale = 1, double shift = 0) {
  Mat m(rows, cols);
  for (size_t i = 0; i < m.v.size(); ++i) m.v[i] = shift + scale * random_normal(seed, 77, i);
  return m;
}

// A list of ids as ops take it, of the given shape (empty: [count]).
inline Tensor i32(std::vector<int32_t> values, Shape shape = {}) {
  const auto owner = std::make_shared<std::vector<int32_t>>(std::move(values));
  if (shape.empty()) shape = {int64_t(owner->size())};
  return Tensor::wrap(owner->data(), DType::i32, std::move(shape), -1, owner);
}
inline std::vector<int32_t> list_of(const Tensor& t) { return {t.data<int32_t>(), t.data<int32_t>() + t.count()}; }

inline Mat read(const Tensor& t) {
  Mat m(t.rows(), t.cols());
  for (int64_t i = 0; i < t.count(); ++i) m.v[size_t(i)] = element(t, i);
  return m;
}

// A tensor holding `m` in `dtype`; and `m` rounded to what the tensor really holds.
inline Tensor make(const Exec& exec, DType dtype, Mat& m) {
  Tensor t = Tensor::empty(exec, dtype, {m.rows, m.cols});
  for (int64_t i = 0; i < t.count(); ++i) set_element(t, i, m.v[size_t(i)]);
  m = read(t);
  return t;
}

// A view with `pad` foreign columns on both sides.
struct View {
  Tensor full, view;
  View(const Exec& exec, DType dtype, Mat& m, int64_t pad = 3) {
    full = Tensor::empty(exec, dtype, {m.rows, m.cols + 2 * pad});
    for (int64_t i = 0; i < full.count(); ++i) set_element(full, i, 777);
    view = full.col_range(pad, m.cols);
    for (int64_t i = 0; i < view.count(); ++i) set_element(view, i, m.v[size_t(i)]);
    m = read(view);
  }
  void expect_surroundings_untouched() const {
    const double foreign = element(full.col_range(0, 1), 0);
    const int64_t pad = (full.cols() - view.cols()) / 2;
    for (int64_t r = 0; r < full.rows(); ++r)
      for (int64_t c = 0; c < pad; ++c) {
        ASSERT_EQ(element(full, r * full.cols() + c), foreign) << "left of row " << r;
        ASSERT_EQ(element(full, (r + 1) * full.cols() - 1 - c), foreign) << "right of row " << r;
      }
    ASSERT_NEAR(foreign, 777, 4);
  }
};

// Relative error of one rounding in the format, with room for the arithmetic before it.
inline double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 4e-6 : dtype == DType::f16 ? 1.0 / 1900 : 1.0 / 250;
}

// What rounding below a format's smallest normal number may cost beside that.
inline double subnormal(DType dtype) { return dtype == DType::f16 ? 0x1p-25 : 0; }
// A large number, as far as the format reaches.
inline double as_large(DType dtype, double value) { return dtype == DType::f16 ? std::min(value, 6e4) : value; }

inline void expect_close(const Mat& got, const Mat& want, double relative, const std::string& what,
                         double absolute = -1) {
  ASSERT_EQ(got.rows, want.rows);
  ASSERT_EQ(got.cols, want.cols);
  double largest = 0;
  for (double x : want.v) largest = std::max(largest, std::fabs(x));
  if (absolute < 0) absolute = relative * 0.05 * largest;
  for (int64_t r = 0; r < got.rows; ++r)
    for (int64_t c = 0; c < got.cols; ++c)
      ASSERT_NEAR(got.at(r, c), want.at(r, c), relative * std::fabs(want.at(r, c)) + absolute)
          << what << " at row " << r << " column " << c;
}

// f(exec, dtype) for every instruction set of this machine with f32, bf16 and f16, for the reference with f64, and for
// the device with f32 and bf16 under several schedules.
inline void each_kind(const std::function<void(const Exec&, DType)>& f) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
      if (dtype == DType::f64 && isa != Isa::reference) continue;
      SCOPED_TRACE(std::string(isa_name(isa)) + " " + dtype_name(dtype));
      f(owned.exec, dtype);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  each_device_schedule([&](const Exec& exec) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(dtype_name(dtype));
      f(exec, dtype);
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}
inline DType wide(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

// Every byte of a tensor, for comparisons to the bit.
inline std::string bytes_of(const Exec& exec, const Tensor& t) {
  Tensor c = t.clone(exec);
  return std::string(static_cast<const char*>(c.raw()), size_t(c.bytes()));
}

// f(exec) gives the bytes of a result; they must be the same with 1, 2 and 5 threads, in every instruction set; and on
// the device under every schedule, where they are those of AVX2.
inline void expect_thread_independent(const std::function<std::string(const Exec&)>& f) {
  for (Isa isa : available_isas()) {
    OwnedExec one(1, isa);
    const std::string expected = f(one.exec);
    for (int threads : {2, 5}) {
      OwnedExec many(threads, isa);
      ASSERT_TRUE(f(many.exec) == expected) << isa_name(isa) << " with " << threads << " threads";
    }
    if (isa != Isa::avx2 || kernels_test::kDeviceStride > 1) continue;
    each_device_schedule([&](const Exec& exec) { ASSERT_TRUE(f(exec) == expected) << "AVX2 and the device differ"; });
  }
}

// Checks d(loss)/d(x) against central differences at every element of x (at most 60 of them, spread).
inline void expect_gradient(Mat& x, const Mat& gradient, const std::function<double()>& loss, double step = 1e-5) {
  const size_t stride = std::max<size_t>(1, x.v.size() / 60);
  for (size_t i = 0; i < x.v.size(); i += stride) {
    const double keep = x.v[i];
    x.v[i] = keep + step;
    const double above = loss();
    x.v[i] = keep - step;
    const double below = loss();
    x.v[i] = keep;
    ASSERT_NEAR(gradient.v[i], (above - below) / (2 * step), 1e-7 + 1e-6 * std::fabs(gradient.v[i])) << "element " << i;
  }
}

inline double dot(const Mat& a, const Mat& b) {
  double sum = 0;
  for (size_t i = 0; i < a.v.size(); ++i) sum += a.v[i] * b.v[i];
  return sum;
}

// The message of the Error that f throws.
inline std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "no error";
}

// The balance loss: the sum over its sequences.
template <class... Arguments>
double balance_total(Arguments&&... arguments) {
  const Tensor losses = host_copy(ops::balance_losses(std::forward<Arguments>(arguments)...));
  double total = 0;
  for (int64_t i = 0; i < losses.count(); ++i) total += losses.data<double>()[i];
  return total;
}

}  // namespace hadal::rows_test
