// The products of ops/matmul.h against their formulas, element by element, in every instruction set.
#include "ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/expect_error.h"
#include "kernels/places_fixture.h"

namespace hadal {
namespace {

using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;

Tensor filled(const Exec& exec, DType dtype, Shape shape, double phase) {
  Tensor tensor = Tensor::empty(exec, dtype, std::move(shape));
  for (int64_t i = 0; i < tensor.count(); ++i)
    set_element(tensor, i, std::sin(phase + (1.3 + 0.37 * phase) * double(i)));
  return tensor;
}

double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-13 : dtype == DType::f32 ? 4e-5 : dtype == DType::f16 ? 0.01 : 0.08;
}

double at(const Tensor& t, int64_t row, int64_t col) { return element(t, row * t.cols() + col); }

struct Setting {
  Place place;
  DType dtype;
};
std::vector<Setting> settings() {
  std::vector<Setting> all{{{best_isa()}, DType::f64}};
  for (const Place& place : places()) {
    all.push_back({place, DType::f32}), all.push_back({place, DType::bf16});
    if (!place.on_device) all.push_back({place, DType::f16});
  }
  return all;
}
DType gradient_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

TEST(Linear, ForwardAndBothBackwardsFollowTheirFormulas) {
  const int64_t m = 21, k = 150, n = 37;
  for (const Setting& s : settings()) {
    const ExecAt owned(s.place, 2);
    const Exec& exec = owned.exec;
    const Tensor x = filled(exec, s.dtype, {m, k}, 1), w = filled(exec, s.dtype, {n, k}, 2),
                 dy = filled(exec, s.dtype, {m, n}, 3);
    const Tensor y = Tensor::empty(exec, s.dtype, {m, n}), dx = filled(exec, s.dtype, {m, k}, 4);
    const Tensor dw = filled(exec, gradient_type(s.dtype), {n, k}, 5), dx_before = dx.clone(exec),
                 dw_before = dw.clone(exec);
    ops::linear(exec, y, x, w);
    ops::linear_backward_input(exec, dx, dy, w, ops::Write::add);
    ops::linear_backward_weight(exec, dw, dy, x);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) sum += at(x, i, l) * at(w, j, l);
        ASSERT_NEAR(at(y, i, j), sum, tolerance(s.dtype)) << s.place.name() << dtype_name(s.dtype);
      }
      for (int64_t l = 0; l < k; ++l) {
        double sum = at(dx_before, i, l);
        for (int64_t j = 0; j < n; ++j) sum += at(dy, i, j) * at(w, j, l);
        ASSERT_NEAR(at(dx, i, l), sum, tolerance(s.dtype)) << s.place.name() << dtype_name(s.dtype);
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t l = 0; l < k; ++l) {
        double sum = at(dw_before, j, l);
        for (int64_t i = 0; i < m; ++i) sum += at(dy, i, j) * at(x, i, l);
        ASSERT_NEAR(at(dw, j, l), sum, tolerance(gradient_type(s.dtype))) << s.place.name() << dtype_name(s.dtype);
      }
    }
  }
}

TEST(Linear, TakesColumnViewsAndWritesNothingBesideThem) {
  for (const Setting& s : settings()) {
    const ExecAt owned(s.place, 2);
    const Exec& exec = owned.exec;
    const Tensor wide = filled(exec, s.dtype, {9, 60}, 1), w = filled(exec, s.dtype, {20, 24}, 2);
    const Tensor x = wide.col_range(11, 24), out = filled(exec, s.dtype, {9, 50}, 3), before = out.clone(exec);
    const Tensor y = Tensor::empty(exec, s.dtype, {9, 20});
    ops::linear(exec, out.col_range(7, 20), x, w);
    ops::linear(exec, y, x.clone(exec), w);
    for (int64_t i = 0; i < 9; ++i) {
      for (int64_t j = 0; j < 50; ++j) {
        ASSERT_EQ(at(out, i, j), j >= 7 && j < 27 ? at(y, i, j - 7) : at(before, i, j)) << s.place.name();
      }
    }
  }
}

Tensor offsets_of(const Exec& exec, const std::vector<int64_t>& offsets) {
  return Tensor::from(exec, std::vector<int32_t>(offsets.begin(), offsets.end()), {int64_t(offsets.size())});
}

TEST(GroupedLinear, EqualsOneProductPerExpertToTheBitWithEmptyExperts) {
  const std::vector<int64_t> offsets{2, 2, 7, 40, 40, 41};  // rows 0, 1 and 41, 42 belong to nobody
  const int64_t rows = 43, experts = 5, n = 22, k = 70;
  for (const Setting& s : settings()) {
    const ExecAt owned(s.place, 3);
    const Exec& exec = owned.exec;
    const Tensor x = filled(exec, s.dtype, {rows, k}, 1), w = filled(exec, s.dtype, {experts, n, k}, 2);
    const Tensor dy = filled(exec, s.dtype, {rows, n}, 3), y = filled(exec, s.dtype, {rows, n}, 4), y1 = y.clone(exec);
    const Tensor dx = filled(exec, s.dtype, {rows, k}, 5), dx1 = dx.clone(exec);
    const Tensor dw = filled(exec, gradient_type(s.dtype), {experts, n, k}, 6), dw1 = dw.clone(exec);
    const Tensor begins = offsets_of(exec, offsets);
    ops::grouped_linear(exec, y, x, w, begins);
    ops::grouped_linear_backward_input(exec, dx, dy, w, begins, ops::Write::add);
    ops::grouped_linear_backward_weight(exec, dw, dy, x, begins);
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t first = offsets[size_t(e)], count = offsets[size_t(e + 1)] - first;
      if (count == 0) continue;
      ops::linear(exec, y1.row_range(first, count), x.row_range(first, count), w.slice(e));
      ops::linear_backward_input(exec, dx1.row_range(first, count), dy.row_range(first, count), w.slice(e),
                                 ops::Write::add);
      ops::linear_backward_weight(exec, dw1.slice(e), dy.row_range(first, count), x.row_range(first, count));
    }
    for (int64_t i = 0; i < y.count(); ++i) ASSERT_EQ(element(y, i), element(y1, i)) << s.place.name();
    for (int64_t i = 0; i < dx.count(); ++i) ASSERT_EQ(element(dx, i), element(dx1, i)) << s.place.name();
    for (int64_t i = 0; i < dw.count(); ++i) ASSERT_EQ(element(dw, i), element(dw1, i)) << s.place.name();
  }
}

// c[t, h*dc ..] = a[t, h*da ..] op(b_h), b stacked by rows, as the absorbed form of attention has it; and its weight
// gradient.
TEST(HeadMatmul, MultipliesEachHeadWithItsOwnMatrix) {
  const int64_t tokens = 17, heads = 3, k = 10, n = 19;
  for (const Setting& s : settings()) {
    for (bool transpose_b : {false, true}) {
      const ExecAt owned(s.place, 2);
      const Exec& exec = owned.exec;
      const Tensor a = filled(exec, s.dtype, {tokens, heads * k}, 1),
                   c = Tensor::empty(exec, s.dtype, {tokens, heads * n});
      const Tensor b =
          transpose_b ? filled(exec, s.dtype, {heads * n, k}, 2) : filled(exec, s.dtype, {heads * k, n}, 2);
      const Tensor b0 = b.row_range(0, transpose_b ? n : k);
      ops::head_matmul(exec, {.c = c.col_range(0, n),
                              .a = a.col_range(0, k),
                              .b = b0,
                              .n_heads = heads,
                              .c_head_stride = n,
                              .a_head_stride = k,
                              .b_head_stride = n * k,
                              .transpose_b = transpose_b});
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t j = 0; j < heads * n; ++j) {
          const int64_t h = j / n;
          double sum = 0;
          for (int64_t l = 0; l < k; ++l)
            sum += at(a, t, h * k + l) * (transpose_b ? at(b, j, l) : at(b, h * k + l, j % n));
          ASSERT_NEAR(at(c, t, j), sum, tolerance(s.dtype)) << s.place.name();
        }
      }
      const Tensor db = Tensor::zeros(exec, gradient_type(s.dtype), {heads * n, k});
      ops::head_matmul(exec, {.c = db.row_range(0, n),
                              .a = c.col_range(0, n),
                              .b = a.col_range(0, k),
                              .n_heads = heads,
                              .c_head_stride = n * k,
                              .a_head_stride = n,
                              .b_head_stride = k,
                              .transpose_a = true,
                              .write = ops::Write::add});
      for (int64_t j = 0; j < heads * n; ++j) {
        for (int64_t l = 0; l < k; ++l) {
          double sum = 0;
          for (int64_t t = 0; t < tokens; ++t) sum += at(c, t, j) * at(a, t, j / n * k + l);
          ASSERT_NEAR(at(db, j, l), sum, 4 * tolerance(gradient_type(s.dtype))) << s.place.name();
        }
      }
    }
  }
}

TEST(Linear, EmptyInputsAreFine) {
  for (const Setting& s : settings()) {
    const ExecAt owned(s.place, 1);
    const Exec& exec = owned.exec;
    const Tensor none = Tensor::empty(exec, s.dtype, {0, 6}), w = filled(exec, s.dtype, {5, 6}, 1);
    const Tensor dw = filled(exec, gradient_type(s.dtype), {5, 6}, 2), before = dw.clone(exec);
    ops::linear(exec, Tensor::empty(exec, s.dtype, {0, 5}), none, w);
    ops::linear_backward_weight(exec, dw, Tensor::empty(exec, s.dtype, {0, 5}), none);
    for (int64_t i = 0; i < dw.count(); ++i) EXPECT_EQ(element(dw, i), element(before, i));
  }
}

TEST(Linear, RefusesShapesAndTypesThatDoNotFit) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  auto tensor = [&](DType dtype, Shape shape) { return Tensor::zeros(exec, dtype, std::move(shape)); };
  const Tensor x = tensor(DType::f32, {4, 6}), w = tensor(DType::f32, {5, 6}), y = tensor(DType::f32, {4, 5});
  EXPECT_ERROR(ops::linear(exec, y, tensor(DType::f32, {4, 7}), w), ErrorKind::internal,
               "linear: w is [5, 6], must be [5, 7]");
  EXPECT_ERROR(ops::linear(exec, tensor(DType::f32, {4, 6}), x, w), ErrorKind::internal,
               "linear: y is [4, 6], must be [4, 5]");
  EXPECT_ERROR(ops::linear(exec, y, x, tensor(DType::f64, {5, 6})), ErrorKind::internal,
               "linear: F64 mixes with nothing; got F32 = F32 x F64");
  EXPECT_ERROR(ops::linear(exec, y, x, tensor(DType::i32, {5, 6})), ErrorKind::internal,
               "linear: the right operand is I32, must be F64, F32, BF16 or F16");
  EXPECT_ERROR(ops::linear_backward_weight(exec, tensor(DType::bf16, {5, 6}), y, x), ErrorKind::internal,
               "linear_backward_weight: the gradient is BF16, must be F32 or F64");
  const Tensor experts = tensor(DType::f32, {2, 5, 6});
  for (const std::vector<int64_t>& bad : {std::vector<int64_t>{0, 4}, {0, 3, 2}, {0, 2, 5}, {-1, 2, 4}}) {
    EXPECT_ERROR(ops::grouped_linear(exec, y, x, experts, offsets_of(exec, bad)), ErrorKind::internal,
                 "grouped_linear");
  }
  try {
    ops::linear(exec, y, x, tensor(DType::f32, {5, 8}));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "linear: w is [5, 8], must be [5, 6]");
  }
}

}  // namespace
}  // namespace hadal
