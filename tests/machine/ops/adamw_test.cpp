#include "base/float_formats.h"
#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;
using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;

struct Setting {
  DType weight, moment;
  bool value, ema;
  DType of_value = DType::bf16;
};

ops::AdamWArgs arguments(int64_t step) {
  return {.lr = 0.01,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .grad_scale = 0.5,
          .ema_decay = 0.99,
          .step = step};
}

// Three steps of the formula against three steps of the op.
void compare(const Exec& exec, const Setting& s) {
  const int64_t n = 131;
  Mat w = random_mat(1, n, 1), m(1, n), v(1, n), ema(1, n);
  ops::AdamWArgs a = arguments(0);
  a.w = make(exec, s.weight, w), a.m = make(exec, s.moment, m), a.v = make(exec, s.moment, v);
  ema = w;
  if (s.ema) a.ema = make(exec, s.weight, ema);
  if (s.value) a.value = Tensor::zeros(exec, s.of_value, {1, n});
  for (int64_t step = 1; step <= 3; ++step) {
    Mat g = random_mat(1, n, 10 + uint64_t(step));
    a.grad = make(exec, s.weight, g), a.step = step;
    ops::adamw(exec, a);
    for (size_t i = 0; i < size_t(n); ++i) {
      const double clipped = g.v[i] * 0.5;
      m.v[i] = 0.9 * m.v[i] + 0.1 * clipped;
      v.v[i] = 0.95 * v.v[i] + 0.05 * clipped * clipped;
      const double m_hat = m.v[i] / (1 - std::pow(0.9, double(step))),
                   v_hat = v.v[i] / (1 - std::pow(0.95, double(step)));
      w.v[i] -= 0.01 * (m_hat / (std::sqrt(v_hat) + 1e-8) + 0.1 * w.v[i]);
      ema.v[i] = 0.99 * ema.v[i] + 0.01 * w.v[i];
      if (s.moment == DType::bf16) {
        m.v[i] = double(float(bf16(float(m.v[i])))), v.v[i] = double(float(bf16(float(v.v[i]))));
      }
    }
    // a moment on the edge between two bf16 numbers may fall to either side, and shifts the weight by a part of lr
    const bool narrow = s.moment == DType::bf16;
    const double absolute = s.weight == DType::f64 ? 1e-13 : narrow ? 1e-4 : 1e-6;
    expect_close(read(a.w), w, 0, "w", absolute);
    expect_close(read(a.m), m, tolerance(s.moment), "m", absolute);
    expect_close(read(a.v), v, tolerance(s.moment), "v", absolute);
    if (s.ema) expect_close(read(a.ema), ema, 0, "ema", absolute);
    for (int64_t i = 0; s.value && i < n; ++i) {
      const float updated = float(element(a.w, i));
      EXPECT_EQ(element(a.value, i), double(s.of_value == DType::f16 ? float(f16(updated)) : float(bf16(updated))));
    }
  }
}

TEST(AdamW, FollowsTheFormulaWithEveryKindOfState) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 2);
    for (DType moment : {DType::f32, DType::bf16})
      for (bool value : {false, true})
        for (bool ema : {false, true}) {
          SCOPED_TRACE(std::string(place.name()) + " moments " + dtype_name(moment));
          compare(owned.exec, {DType::f32, moment, value, ema});
          if (value && !place.on_device) compare(owned.exec, {DType::f32, moment, value, ema, DType::f16});
        }
    if (!place.on_device) compare(owned.exec, {DType::f64, DType::f64, true, true});
  }
}

TEST(AdamW, FirstStepMovesByTheLearningRateAgainstTheSignOfTheGradient) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    Mat w(1, 2), g(1, 2), zero(1, 2);
    g.v = {4.0, -0.001};
    ops::AdamWArgs a = arguments(1);
    a.weight_decay = 0;
    a.w = make(exec, dtype, w), a.grad = make(exec, dtype, g), a.m = make(exec, dtype, zero),
    a.v = make(exec, dtype, zero);
    ops::adamw(exec, a);
    EXPECT_NEAR(element(a.w, 0), -0.01, 1e-6);
    EXPECT_NEAR(element(a.w, 1), 0.01, 1e-6);
  });
}

TEST(AdamW, HasTheSameBitsWithAnyNumberOfThreads) {
  expect_thread_independent([](const Exec& exec) {
    const int64_t n = 100003;
    Mat w = random_mat(1, n, 1), g = random_mat(1, n, 2), m = random_mat(1, n, 3, 0.1), v(1, n, 0.3);
    ops::AdamWArgs a = arguments(5);
    a.w = make(exec, DType::f32, w), a.grad = make(exec, DType::f32, g);
    a.m = make(exec, DType::bf16, m), a.v = make(exec, DType::bf16, v), a.value = Tensor::zeros(exec, DType::bf16, {n});
    ops::adamw(exec, a);
    return bytes_of(exec, a.w) + bytes_of(exec, a.m) + bytes_of(exec, a.v) + bytes_of(exec, a.value);
  });
}

TEST(AdamW, RefusesStatesThatDoNotFit) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  ops::AdamWArgs a = arguments(0);
  a.w = a.grad = a.m = a.v = Tensor::zeros(exec, DType::f32, {4});
  EXPECT_EQ(error_of([&] { ops::adamw(exec, a); }), "adamw: step is 0, the first step is 1");
  a.step = 1, a.m = Tensor::zeros(exec, DType::f32, {3});
  EXPECT_EQ(error_of([&] { ops::adamw(exec, a); }), "adamw: m is [3], expected 4 contiguous elements");
  a.m = a.v = Tensor::zeros(exec, DType::f16, {4});
  EXPECT_EQ(error_of([&] { ops::adamw(exec, a); }), "adamw: moments are F16 and F16 beside a weight of F32");
  a.v = Tensor::zeros(exec, DType::f32, {4});
  a.m = Tensor::zeros(exec, DType::bf16, {4});
  EXPECT_EQ(error_of([&] { ops::adamw(exec, a); }), "adamw: moments are BF16 and F32 beside a weight of F32");
}

}  // namespace
}  // namespace hadal
