#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

double log_sum_exp(const Mat& x, int64_t r) {
  double sum = 0, top = x.at(r, 0);
  for (int64_t c = 0; c < x.cols; ++c) top = std::max(top, x.at(r, c));
  for (int64_t c = 0; c < x.cols; ++c) sum += std::exp(x.at(r, c) - top);
  return top + std::log(sum);
}

TEST(CrossEntropy, IsTheFormulaAndLeavesItsGradientInPlace) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t vocab : {1, 5, 33, 130, 1000}) {
      const double scale = 0.37;
      Mat x = random_mat(7, vocab, 1, 5), loss(7, 1, -1), want_loss(7, 1), want(7, vocab);
      View tx(exec, dtype, x), again(exec, dtype, x);
      Tensor tloss = make(exec, wide(dtype), loss);
      std::vector<int32_t> targets;
      for (int64_t r = 0; r < 7; ++r) targets.push_back(r == 3 ? -1 : int32_t((r * 31) % vocab));
      for (int64_t r = 0; r < 7; ++r) {
        const int32_t target = targets[size_t(r)];
        if (target < 0) continue;
        const double total = log_sum_exp(x, r);
        want_loss.at(r, 0) = total - x.at(r, target);
        for (int64_t c = 0; c < vocab; ++c) want.at(r, c) = (std::exp(x.at(r, c) - total) - (c == target)) * scale;
      }
      const double absolute = dtype == DType::f64 ? 1e-13 : 4e-6;
      ops::cross_entropy(exec, again.view, i32(targets), scale, tloss, false);
      expect_close(read(tloss), want_loss, tolerance(wide(dtype)), "loss alone", absolute);
      expect_close(read(again.view), x, 0, "logits without gradient", 0);
      tloss.zero();
      ops::cross_entropy(exec, tx.view, i32(targets), scale, tloss, true);
      expect_close(read(tloss), want_loss, tolerance(wide(dtype)), "loss", absolute);
      // fractions of a rounding of the largest entry: a target whose probability is near 1 has a small gradient
      expect_close(read(tx.view), want, tolerance(dtype), "gradient", dtype == DType::f64 ? 1e-13 : 1e-6);
      tx.expect_surroundings_untouched();
    }
  });
}

TEST(CrossEntropy, GradientIsTheDerivativeOfTheLoss) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  Mat x = random_mat(3, 9, 1, 2);
  const std::vector<int32_t> targets = {4, -1, 8};
  const auto run = [&](bool gradient, Tensor& logits) {
    logits = make(exec, DType::f64, x);
    Tensor loss = Tensor::zeros(exec, DType::f64, {3});
    ops::cross_entropy(exec, logits, i32(targets), 2.5, loss, gradient);
    return 2.5 * (element(loss, 0) + element(loss, 1) + element(loss, 2));
  };
  Tensor gradient, unused;
  run(true, gradient);
  expect_gradient(x, read(gradient), [&] { return run(false, unused); });
}

TEST(CrossEntropy, StaysFiniteForHugeLogitsAndReportsNaN) {
  each_kind([](const Exec& exec, DType dtype) {
    const double huge = as_large(dtype, 1e30);
    Mat x(3, 40, -huge), loss(3, 1);
    x.at(0, 5) = huge, x.at(1, 7) = x.at(1, 9) = 3000, x.at(2, 1) = std::nan("");
    Tensor tx = make(exec, dtype, x), tloss = make(exec, wide(dtype), loss);
    const std::vector<int32_t> targets = {5, 9, 2};
    ops::cross_entropy(exec, tx, i32(targets), 1.0, tloss, true);
    EXPECT_EQ(element(tloss, 0), 0);
    EXPECT_NEAR(element(tloss, 1), std::log(2.0), 3e-4);  // the reference adds 3000 first, in FP32
    EXPECT_TRUE(std::isnan(element(tloss, 2)));
    EXPECT_NEAR(element(tx, 40 + 7), 0.5, 3e-3);
    EXPECT_NEAR(element(tx, 40 + 9), -0.5, 3e-3);
    EXPECT_EQ(element(tx, 0), 0);
  });
}

TEST(CrossEntropy, NamesATargetOutsideTheVocabulary) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Tensor x = Tensor::zeros(exec, DType::f32, {2, 6}), loss = Tensor::zeros(exec, DType::f32, {2});
  const std::vector<int32_t> wrong = {0, 6}, negative = {-2, 0}, few = {1};
  EXPECT_EQ(error_of([&] { ops::cross_entropy(exec, x, i32(wrong), 1, loss, false); }),
            "cross_entropy: target of row 1 is 6, expected -1 to 5");
  EXPECT_EQ(error_of([&] { ops::cross_entropy(exec, x, i32(negative), 1, loss, false); }),
            "cross_entropy: target of row 0 is -2, expected -1 to 5");
  EXPECT_EQ(error_of([&] { ops::cross_entropy(exec, x, i32(few), 1, loss, false); }),
            "cross_entropy targets is I32 [1], expected 2 contiguous I32");
}

TEST(CrossEntropy, TakesNoWorkspace) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t vocab : {500, 1000}) {
      Tensor x = Tensor::zeros(exec, dtype, {20, vocab}), loss = Tensor::zeros(exec, wide(dtype), {20});
      const std::vector<int32_t> targets(20, 3);
      exec.memory->reset_peak();
      const size_t before = exec.memory->bytes_in_use();
      ops::cross_entropy(exec, x, i32(targets), 1.0, loss, true);
      EXPECT_EQ(exec.memory->peak_bytes(), before);
    }
  });
}

TEST(CrossEntropy, HasTheSameBitsWithAnyNumberOfThreadsAndARowItsOwn) {
  expect_thread_independent([](const Exec& exec) {
    Mat x = random_mat(97, 1003, 1, 4);
    Tensor tx = make(exec, DType::f32, x), loss = Tensor::zeros(exec, DType::f32, {97});
    Tensor alone = tx.row_range(50, 1).clone(exec), alone_loss = Tensor::zeros(exec, DType::f32, {1});
    std::vector<int32_t> targets(97, 12);
    ops::cross_entropy(exec, tx, i32(targets), 0.5, loss, true);
    ops::cross_entropy(exec, alone, i32({targets.front()}), 0.5, alone_loss, true);
    EXPECT_EQ(bytes_of(exec, alone), bytes_of(exec, tx.row_range(50, 1)));
    return bytes_of(exec, tx) + bytes_of(exec, loss);
  });
}

}  // namespace
}  // namespace hadal
