#include "base/float_formats.h"
#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;
using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;

TEST(Elementwise, AddsScalesAndCopiesViewsOfAnyFormat) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 9, 48, 101}) {
      Mat a = random_mat(6, cols, 1), b = random_mat(6, cols, 2), y(6, cols), want(6, cols);
      View ta(exec, dtype, a), tb(exec, wide(dtype), b), ty(exec, dtype, y);
      const double absolute = dtype == DType::f64 ? 0 : 1e-7;
      for (size_t i = 0; i < a.v.size(); ++i) want.v[i] = a.v[i] + b.v[i];
      ops::add(exec, ty.view, ta.view, tb.view);
      expect_close(read(ty.view), want, tolerance(dtype), "a + b", absolute);
      Mat wider = b;
      for (size_t i = 0; i < a.v.size(); ++i) wider.v[i] += a.v[i];
      ops::add_to(exec, tb.view, ta.view);
      expect_close(read(tb.view), wider, tolerance(wide(dtype)), "b += a", absolute);
      ops::scale(exec, ta.view, -0.25);
      for (double& x : a.v) x *= -0.25;
      expect_close(read(ta.view), a, 0, "scaled by a power of two", subnormal(dtype));
      ops::copy(exec, ty.view, tb.view);
      const Mat copied = read(ty.view), from = read(tb.view);
      for (size_t i = 0; i < copied.v.size(); ++i) {  // the roundings of base/bf16.h and float_formats.h, to the bit
        const float value = float(from.v[i]);
        EXPECT_EQ(copied.v[i], dtype == DType::bf16  ? double(float(bf16(value)))
                               : dtype == DType::f16 ? double(float(f16(value)))
                                                     : from.v[i]);
      }
      ty.expect_surroundings_untouched(), tb.expect_surroundings_untouched();
    }
  });
}

TEST(Elementwise, ConvertsBetweenAllFormatsAndKeepsBitsWithinOne) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(1, isa);
    const Exec& exec = owned.exec;
    for (DType from : {DType::f64, DType::f32, DType::bf16, DType::f16})
      for (DType to : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
        if (from != to && is_half(from) && is_half(to)) continue;  // no model computes in both
        Mat x = random_mat(3, 50, 4);
        Tensor tx = make(exec, from, x), ty = Tensor::zeros(exec, to, {3, 50});
        ops::copy(exec, ty, tx);
        expect_close(read(ty), x, to == from ? 0 : tolerance(to), "converted", to == from ? 0 : 1e-9 + subnormal(to));
      }
    // not a number, infinities and subnormals survive a copy within a format
    Tensor odd = Tensor::from<bf16>(exec, {bf16(1e-40f), bf16(INFINITY), bf16(-INFINITY), bf16(NAN), bf16(-0.0f)}, {5});
    Tensor same = Tensor::zeros(exec, DType::bf16, {5});
    ops::copy(exec, same, odd);
    EXPECT_EQ(bytes_of(exec, same), bytes_of(exec, odd)) << isa_name(isa);
  }
}

TEST(Elementwise, RoundsHalfWayCasesToEvenAndKeepsNaN) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 1);
    const Exec& exec = owned.exec;
    std::vector<float> values = {1.00390625f, 1.01171875f, -1.00390625f, 3.3961e38f, INFINITY, -INFINITY, 0.0f, NAN};
    for (int i = 0; i < 40; ++i) values.push_back(1.0f + float(i) / 512);
    Tensor x = Tensor::from<float>(exec, values, {int64_t(values.size())});
    Tensor y = Tensor::zeros(exec, DType::bf16, {int64_t(values.size())});
    ops::copy(exec, y, x);
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i]))
        EXPECT_TRUE(std::isnan(element(y, int64_t(i))));
      else
        EXPECT_EQ(element(y, int64_t(i)), double(float(bf16(values[i])))) << place.name() << " " << values[i];
    }
    EXPECT_EQ(element(y, 0), 1.0);       // between 1 and 1 + 2^-7: the even one
    EXPECT_EQ(element(y, 1), 1.015625);  // between 1 + 2^-7 and 1 + 2^-6
  }
}

// 0.001 is no float: the sum is that of the doubles, rounded once.
TEST(Elementwise, ShiftsInDoubleAndRoundsOnce) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 1);
    const std::vector<double> by = {0.001, -0.001, 0, 1e-9, 7};
    for (const DType dtype : {DType::f32, DType::f64}) {
      if (dtype == DType::f64 && !place.has_f64()) continue;
      Mat y(1, 5);
      y.v = {0.1, 0.7, 1e-3, 3, 16777217};
      const Tensor t = make(owned.exec, dtype, y);
      const Mat before = read(t);
      ops::shift(owned.exec, t, by);
      for (size_t i = 0; i < by.size(); ++i) {
        const double exact = before.v[i] + by[i];
        EXPECT_EQ(element(t, int64_t(i)), dtype == DType::f64 ? exact : double(float(exact))) << place.name();
      }
    }
  }
}

TEST(Elementwise, SumOfSquaresIsExactInDoubleForAnyShape) {
  each_kind([](const Exec& exec, DType dtype) {
    for (Shape shape : {Shape{1, 1}, Shape{3, 37}, Shape{1, 5000}, Shape{64, 4096}, Shape{3000, 70}}) {
      Mat x = random_mat(shape[0], shape[1], 1);
      View tx(exec, dtype, x, 2);
      Tensor plain = tx.view.clone(exec);
      long double want = 0;
      for (double v : x.v) want += (long double)v * v;
      EXPECT_NEAR(ops::sum_of_squares(exec, tx.view), double(want), 1e-13 * double(want));
      EXPECT_NEAR(ops::sum_of_squares(exec, plain), double(want), 1e-13 * double(want));
    }
    Mat huge(2, 33, as_large(dtype, 1e30));
    Tensor t = make(exec, dtype, huge);
    EXPECT_NEAR(ops::sum_of_squares(exec, t) / (66 * huge.v[0] * huge.v[0]), 1, 1e-12);  // 1e60 is no float
  });
}

TEST(Elementwise, SumOfSquaresHasTheSameBitsInEveryVectorInstructionSetAndOnTheDevice) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    std::vector<double> sums;
    for (const Place& place : places()) {
      if (place.on_device && dtype == DType::f16) continue;
      if (place.has_f64()) continue;  // the reference adds one by one
      const ExecAt owned(place, 1);
      Mat x = random_mat(70, 1003, 6);
      sums.push_back(ops::sum_of_squares(owned.exec, make(owned.exec, dtype, x)));
      EXPECT_EQ(sums.back(), sums.front()) << place.name();
    }
  }
}

TEST(Elementwise, FindsOneValueThatIsNotFiniteAnywhere) {
  each_kind([](const Exec& exec, DType dtype) {
    const double infinity = std::numeric_limits<double>::infinity();
    for (double bad : {std::nan(""), infinity, -infinity})
      for (int64_t at : {0, 6, 40, 41, 77, 83}) {
        Mat x(2, 42, as_large(dtype, 3e38));
        Tensor t = make(exec, dtype, x);
        EXPECT_TRUE(ops::all_finite(exec, t));
        set_element(t, at, bad);
        EXPECT_FALSE(ops::all_finite(exec, t)) << bad << " at " << at;
        EXPECT_FALSE(std::isfinite(ops::sum_of_squares(exec, t)));
      }
  });
}

TEST(Elementwise, HasTheSameBitsWithAnyNumberOfThreads) {
  std::vector<std::string> sums;
  expect_thread_independent([&](const Exec& exec) {
    Mat a = random_mat(1500, 111, 1);
    Tensor ta = make(exec, DType::f32, a), tb = Tensor::zeros(exec, DType::bf16, {1500, 111});
    ops::copy(exec, tb, ta);
    ops::add_to(exec, tb, ta);
    ops::scale(exec, tb, 1.7);
    double sum[2] = {ops::sum_of_squares(exec, ta), ops::sum_of_squares(exec, tb)};
    return bytes_of(exec, tb) + std::string(reinterpret_cast<char*>(sum), sizeof(sum));
  });
}

TEST(Elementwise, AcceptsEmptyTensors) {
  each_kind([](const Exec& exec, DType dtype) {
    Tensor x = Tensor::zeros(exec, dtype, {0, 16}), y = Tensor::zeros(exec, dtype, {0, 16});
    ops::add(exec, y, x, x);
    ops::copy(exec, y, x);
    EXPECT_EQ(ops::sum_of_squares(exec, x), 0);
    EXPECT_TRUE(ops::all_finite(exec, x));
    Tensor rstd = Tensor::zeros(exec, wide(dtype), {0}), w = Tensor::zeros(exec, wide(dtype), {16});
    ops::rms_norm(exec, y, rstd, x, w, 1e-6);
    ops::rms_norm_backward_weight(exec, w, y, x, rstd);
    EXPECT_EQ(ops::sum_of_squares(exec, w), 0);
  });
}

TEST(Elementwise, RefusesShapesThatDiffer) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Tensor a = Tensor::zeros(exec, DType::f32, {2, 8}), b = Tensor::zeros(exec, DType::f32, {4, 4});
  EXPECT_EQ(error_of([&] { ops::add(exec, a, a, b); }), "add b is [4, 4], expected 2 rows of 8");
  EXPECT_EQ(error_of([&] { ops::copy(exec, a, b.row_range(0, 3)); }), "copy: 12 elements of shape [3, 4] into [2, 8]");
  EXPECT_EQ(error_of([&] { ops::scale(exec, Tensor::zeros(exec, DType::i32, {3}), 2); }),
            "scale is I32; this op takes F64, F32, BF16 or F16");
}

}  // namespace
}  // namespace hadal
