// Numeric derivatives in FP64 for layer tests: random tensors, a scalar loss sum(c * y), central differences.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/random.h"
#include "nn/init.h"

namespace hadal::testing {

inline Tensor random_tensor(const Exec& exec, Shape shape, uint64_t stream, double size = 1.0,
                            DType dtype = DType::f64) {
  const Tensor t = Tensor::empty(exec, dtype, std::move(shape));
  for (int64_t i = 0; i < t.count(); ++i) set_element(t, i, size * random_normal(7, stream, uint64_t(i)));
  return t;
}

// A list of ids, targets or offsets.
inline Tensor i32(const Exec& exec, const std::vector<int32_t>& values) {
  return Tensor::from(exec, values, {int64_t(values.size())});
}

// sum of c * y with fixed random c
inline Tensor loss_weights(const Exec& exec, const Tensor& y) { return random_tensor(exec, {y.rows(), y.cols()}, 99); }
inline double weighted_sum(const Tensor& y, const Tensor& c) {
  double sum = 0;
  for (int64_t i = 0; i < y.count(); ++i) sum += element(y, i) * element(c, i);
  return sum;
}

inline std::unique_ptr<Parameter> random_parameter(const Exec& exec, Shape shape, uint64_t stream, double size = 0.5) {
  ParameterSpec spec;
  spec.name = "test";
  spec.shape = shape;
  auto parameter = make_parameter(exec, spec, DType::f64, true);
  parameter->master.copy_from(random_tensor(exec, shape, stream, size));
  return parameter;
}

// The derivative of loss() by each element of x (at most `limit` of them, evenly spread) against `gradient`.
inline void expect_gradient(const Tensor& x, const Tensor& gradient, const std::function<double()>& loss,
                            const char* what, int64_t limit = 64) {
  ASSERT_EQ(x.count(), gradient.count()) << what;
  const int64_t step = std::max<int64_t>(1, x.count() / limit);
  double largest = 0;
  for (int64_t i = 0; i < x.count(); i += step) {
    const double value = element(x, i), delta = 1e-5;
    set_element(x, i, value + delta);
    const double above = loss();
    set_element(x, i, value - delta);
    const double below = loss();
    set_element(x, i, value);
    const double numeric = (above - below) / (2 * delta), ours = element(gradient, i);
    EXPECT_NEAR(ours, numeric, 2e-7 * (1 + std::abs(numeric))) << what << " element " << i;
    largest = std::max(largest, std::abs(ours));
  }
  EXPECT_GT(largest, 1e-6) << what << ": all gradients vanish";
}

inline std::vector<double> values_of(const Tensor& t) {
  std::vector<double> values(size_t(t.count()));
  for (int64_t i = 0; i < t.count(); ++i) values[size_t(i)] = element(t, i);
  return values;
}

}  // namespace hadal::testing
