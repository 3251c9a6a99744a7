#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

constexpr double kEps = 1e-6;

struct Norm {
  Mat y, rstd;
};
Norm formula(const Mat& x, const Mat& w) {
  Norm n{Mat(x.rows, x.cols), Mat(x.rows, 1)};
  for (int64_t r = 0; r < x.rows; ++r) {
    double mean = 0;
    for (int64_t c = 0; c < x.cols; ++c) mean += x.at(r, c) * x.at(r, c) / double(x.cols);
    n.rstd.at(r, 0) = std::pow(mean + kEps, -0.5);
    for (int64_t c = 0; c < x.cols; ++c) n.y.at(r, c) = x.at(r, c) * n.rstd.at(r, 0) * w.at(0, c);
  }
  return n;
}

TEST(RmsNorm, IsTheFormulaInEveryInstructionSetAndFormatForAnyWidth) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 7, 16, 33, 96, 257}) {
      for (DType out : {dtype, wide(dtype)}) {
        Mat x = random_mat(9, cols, 1, 3), w = random_mat(1, cols, 2), y(9, cols), rstd(9, 1);
        View tx(exec, dtype, x), ty(exec, out, y);
        Tensor tw = make(exec, wide(dtype), w), trstd = make(exec, wide(dtype), rstd);
        ops::rms_norm(exec, ty.view, trstd, tx.view, tw, kEps);
        const Norm want = formula(x, w);
        expect_close(read(ty.view), want.y, tolerance(out), "y", 1e-30);
        expect_close(read(trstd), want.rstd, tolerance(wide(dtype)), "rstd");
        ty.expect_surroundings_untouched();
      }
    }
  });
}

TEST(RmsNorm, GivesItsTwoBackwardsInEveryInstructionSetAndFormat) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 33, 96, 160}) {
      const int64_t rows = 300;  // three chunks of rows
      Mat x = random_mat(rows, cols, 1, 2), dy = random_mat(rows, cols, 2), w = random_mat(1, cols, 3), rstd(rows, 1);
      Mat dx = random_mat(rows, cols, 4), dw = random_mat(1, cols, 5);
      View tx(exec, dtype, x), tdy(exec, dtype, dy), tdx(exec, dtype, dx);
      Tensor tw = make(exec, wide(dtype), w), tdw = make(exec, wide(dtype), dw);
      rstd = formula(x, w).rstd;
      Tensor trstd = make(exec, wide(dtype), rstd);
      Mat want(rows, cols), want_added(rows, cols), want_dw = dw;
      for (int64_t r = 0; r < rows; ++r) {
        const double s = rstd.at(r, 0);
        double mean = 0;
        for (int64_t c = 0; c < cols; ++c) mean += w.at(0, c) * dy.at(r, c) * x.at(r, c) / double(cols);
        for (int64_t c = 0; c < cols; ++c) {
          want.at(r, c) = s * (w.at(0, c) * dy.at(r, c) - x.at(r, c) * s * s * mean);
          want_dw.at(0, c) += dy.at(r, c) * x.at(r, c) * s;
        }
      }
      ops::rms_norm_backward_input(exec, tdx.view, tdy.view, tx.view, tw, trstd, false);
      expect_close(read(tdx.view), want, tolerance(dtype), "dx", dtype == DType::f64 ? 1e-12 : 4e-6);
      const Mat first = read(tdx.view);
      ops::rms_norm_backward_input(exec, tdx.view, tdy.view, tx.view, tw, trstd, true);
      for (size_t i = 0; i < want.v.size(); ++i) want_added.v[i] = first.v[i] + want.v[i];
      expect_close(read(tdx.view), want_added, tolerance(dtype), "dx added", dtype == DType::f64 ? 1e-12 : 8e-6);
      tdx.expect_surroundings_untouched();
      ops::rms_norm_backward_weight(exec, tdw, tdy.view, tx.view, trstd);
      expect_close(read(tdw), want_dw, tolerance(wide(dtype)), "dw", dtype == DType::f64 ? 1e-11 : 1e-4);
    }
  });
}

TEST(RmsNorm, BackwardsAreTheDerivativesOfForward) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  Mat x = random_mat(4, 11, 1), w = random_mat(1, 11, 2), c = random_mat(4, 11, 3);
  const auto forward = [&](Tensor* rstd_out) {
    Tensor tx = make(exec, DType::f64, x), tw = make(exec, DType::f64, w), y = Tensor::zeros(exec, DType::f64, {4, 11});
    Tensor rstd = Tensor::zeros(exec, DType::f64, {4});
    ops::rms_norm(exec, y, rstd, tx, tw, kEps);
    if (rstd_out) *rstd_out = rstd;
    return dot(read(y), c);
  };
  Tensor rstd;
  forward(&rstd);
  Tensor tx = make(exec, DType::f64, x), tw = make(exec, DType::f64, w), tc = make(exec, DType::f64, c);
  Tensor dx = Tensor::zeros(exec, DType::f64, {4, 11}), dw = Tensor::zeros(exec, DType::f64, {11});
  ops::rms_norm_backward_input(exec, dx, tc, tx, tw, rstd, false);
  ops::rms_norm_backward_weight(exec, dw, tc, tx, rstd);
  expect_gradient(x, read(dx), [&] { return forward(nullptr); });
  expect_gradient(w, read(dw), [&] { return forward(nullptr); });
}

TEST(RmsNorm, HasTheSameBitsWithAnyNumberOfThreadsAndARowItsOwn) {
  expect_thread_independent([](const Exec& exec) {
    Mat x = random_mat(517, 333, 1), dy = random_mat(517, 333, 2), w = random_mat(1, 333, 3);
    Tensor tx = make(exec, DType::f32, x), tdy = make(exec, DType::f32, dy), tw = make(exec, DType::f32, w);
    Tensor y = Tensor::zeros(exec, DType::f32, {517, 333}), rstd = Tensor::zeros(exec, DType::f32, {517});
    Tensor dx = y.clone(exec), dw = Tensor::zeros(exec, DType::f32, {333});
    ops::rms_norm(exec, y, rstd, tx, tw, kEps);
    ops::rms_norm_backward_input(exec, dx, tdy, tx, tw, rstd, false);
    ops::rms_norm_backward_weight(exec, dw, tdy, tx, rstd);
    Tensor alone = Tensor::zeros(exec, DType::f32, {1, 333}), alone_rstd = Tensor::zeros(exec, DType::f32, {1});
    ops::rms_norm(exec, alone, alone_rstd, tx.row_range(301, 1), tw, kEps);
    EXPECT_EQ(bytes_of(exec, alone), bytes_of(exec, y.row_range(301, 1)));
    return bytes_of(exec, y) + bytes_of(exec, dx) + bytes_of(exec, dw);
  });
}

TEST(RmsNorm, RefusesOperandsThatDoNotFit) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Tensor x = Tensor::zeros(exec, DType::f32, {4, 8}), y = Tensor::zeros(exec, DType::f32, {4, 7});
  Tensor rstd = Tensor::zeros(exec, DType::f32, {4}), w = Tensor::zeros(exec, DType::f32, {8});
  EXPECT_EQ(error_of([&] { ops::rms_norm(exec, y, rstd, x, w, kEps); }), "rms_norm y is [4, 7], expected 4 rows of 8");
  EXPECT_EQ(error_of([&] { ops::rms_norm(exec, x, rstd, x, Tensor::zeros(exec, DType::bf16, {8}), kEps); }),
            "rms_norm w is BF16, expected F32");
  EXPECT_EQ(error_of([&] {
              ops::rms_norm(exec, Tensor::zeros(exec, DType::f64, {4, 8}), rstd, x, w, kEps);
            }),
            "rms_norm: F64 operands cannot be mixed with others");
}

}  // namespace
}  // namespace hadal
