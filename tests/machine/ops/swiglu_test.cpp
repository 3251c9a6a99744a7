#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Swiglu, IsTheFormulaInEveryInstructionSetAndFormat) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 15, 32, 77, 128}) {
      Mat g = random_mat(11, cols, 1, 4), u = random_mat(11, cols, 2), h(11, cols), want(11, cols);
      View tg(exec, dtype, g), tu(exec, dtype, u), th(exec, dtype, h);
      for (size_t i = 0; i < g.v.size(); ++i) want.v[i] = g.v[i] * sigmoid(g.v[i]) * u.v[i];
      ops::swiglu(exec, th.view, tg.view, tu.view);
      expect_close(read(th.view), want, tolerance(dtype), "h", 1e-30 + subnormal(dtype));
      th.expect_surroundings_untouched();
    }
  });
}

TEST(Swiglu, BackwardIsTheFormulaAlsoInPlace) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 15, 32, 77}) {
      Mat g = random_mat(11, cols, 1, 4), u = random_mat(11, cols, 2), dh = random_mat(11, cols, 3);
      Mat dg(11, cols), du(11, cols);
      View tg(exec, dtype, g), tu(exec, dtype, u), tdh(exec, dtype, dh), tdg(exec, dtype, dg), tdu(exec, dtype, du);
      Mat want_g(11, cols), want_u(11, cols);
      for (size_t i = 0; i < g.v.size(); ++i) {
        const double s = sigmoid(g.v[i]);
        want_g.v[i] = dh.v[i] * u.v[i] * (s + g.v[i] * s * (1 - s));
        want_u.v[i] = dh.v[i] * g.v[i] * s;
      }
      ops::swiglu_backward(exec, tdg.view, tdu.view, tdh.view, tg.view, tu.view);
      const double absolute = dtype == DType::f64 ? 1e-14 : 2e-6;
      expect_close(read(tdg.view), want_g, tolerance(dtype), "dg", absolute);
      expect_close(read(tdu.view), want_u, tolerance(dtype), "du", absolute);
      ops::swiglu_backward(exec, tg.view, tu.view, tdh.view, tg.view, tu.view);
      EXPECT_EQ(bytes_of(exec, tg.view), bytes_of(exec, tdg.view));
      EXPECT_EQ(bytes_of(exec, tu.view), bytes_of(exec, tdu.view));
      tg.expect_surroundings_untouched();
    }
  });
}

TEST(Swiglu, BackwardIsTheDerivativeOfForward) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  Mat g = random_mat(3, 7, 1, 2), u = random_mat(3, 7, 2), c = random_mat(3, 7, 3);
  const auto loss = [&] {
    Tensor h = Tensor::zeros(exec, DType::f64, {3, 7});
    ops::swiglu(exec, h, make(exec, DType::f64, g), make(exec, DType::f64, u));
    return dot(read(h), c);
  };
  Tensor dg = Tensor::zeros(exec, DType::f64, {3, 7}), du = dg.clone(exec);
  ops::swiglu_backward(exec, dg, du, make(exec, DType::f64, c), make(exec, DType::f64, g), make(exec, DType::f64, u));
  expect_gradient(g, read(dg), loss);
  expect_gradient(u, read(du), loss);
}

TEST(Swiglu, SurvivesGatesOfAnySize) {
  each_kind([](const Exec& exec, DType dtype) {
    Mat g(1, 6), u(1, 6, 1.0), h(1, 6);
    g.v = {-1e4, -120, -80, 0, 120, 1e4};
    Tensor tg = make(exec, dtype, g), tu = make(exec, dtype, u), th = make(exec, dtype, h);
    ops::swiglu(exec, th, tg, tu);
    const Mat got = read(th);
    EXPECT_NEAR(got.v[0], 0, 1e-30);
    EXPECT_NEAR(got.v[1], 0, 1e-30);
    EXPECT_NEAR(got.v[2], 0, 1e-30);
    EXPECT_EQ(got.v[3], 0);
    EXPECT_EQ(got.v[4], 120);
    EXPECT_EQ(got.v[5], g.v[5]);
  });
}

TEST(Swiglu, HasTheSameBitsWithAnyNumberOfThreads) {
  expect_thread_independent([](const Exec& exec) {
    Mat g = random_mat(700, 99, 1, 4), u = random_mat(700, 99, 2), dh = random_mat(700, 99, 3);
    Tensor tg = make(exec, DType::bf16, g), tu = make(exec, DType::bf16, u), tdh = make(exec, DType::bf16, dh);
    Tensor h = Tensor::zeros(exec, DType::bf16, {700, 99});
    ops::swiglu(exec, h, tg, tu);
    ops::swiglu_backward(exec, tg, tu, tdh, tg, tu);
    return bytes_of(exec, h) + bytes_of(exec, tg) + bytes_of(exec, tu);
  });
}

}  // namespace
}  // namespace hadal
