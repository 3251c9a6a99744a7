// Products of FP8 codes as Hopper's tensor cores sum them: every form, step by step, with the same bits in every
// instruction set; long sums worked out elsewhere; and the errors that are known of them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/expect_error.h"
#include "base/float_formats.h"
#include "base/random.h"
#include "kernels/places_fixture.h"
#include "kernels/tensor_core.h"
#include "ops/matmul.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

using ops::Accumulation;
namespace core = kernels::tensor_core;

class HopperProducts : public ::testing::TestWithParam<kernels_test::Place> {
 protected:
  void SetUp() override {
    if (GetParam().on_device) GTEST_SKIP() << "on the CPU alone";
  }
  Tensor random(Shape shape, uint64_t stream, DType dtype = DType::f32) {
    const Tensor t = Tensor::empty(exec, dtype, std::move(shape));
    for (int64_t i = 0; i < t.count(); ++i)
      set_element(t, i,
                  random_normal(3, stream, uint64_t(i)) * std::exp2(-double(random_below(3, 9, uint64_t(i), 12))));
    return t;
  }
  const kernels_test::ExecAt owned{GetParam(), 2};
  const Exec& exec = owned.exec;
};

// What the header says, element by element and step by step; of an operand whose element (i, k) is given.
struct Side {
  std::function<uint8_t(int64_t, int64_t)> code;
  std::function<float(int64_t, int64_t)> scale;
};
Side side_of(const Quantised& q, bool sum_rows) {
  const auto* codes = static_cast<const uint8_t*>(q.codes.raw());
  return {[=](int64_t i, int64_t k) { return codes[sum_rows ? k * q.cols() + i : i * q.cols() + k]; },
          [=](int64_t i, int64_t k) {
            const int64_t r = (sum_rows ? k : i) / q.tile.rows, c = (sum_rows ? i : k) / q.tile.cols;
            return float(element(q.scales, r * q.scales.cols() + c));
          }};
}
float step_by_step(const Side& a, const Side& b, int64_t m, int64_t n, int64_t depth, int64_t chunk, bool promoted,
                   float c) {
  float sum = 0;
  for (int64_t first = 0; first < depth; first += chunk) {
    const int64_t end = std::min(depth, first + chunk);
    if (promoted) sum = 0;
    if (!promoted && first > 0) {
      const auto both = [&](int64_t k) { return double(a.scale(m, k)) * double(b.scale(n, k)); };
      sum = float(double(sum) * (both(first - 1) / both(first)));
    }
    for (int64_t k = first; k < end; k += 32) {
      std::vector<uint8_t> left(32, 0), right(32, 0);
      for (int64_t i = k; i < std::min(end, k + 32); ++i)
        left[size_t(i - k)] = a.code(m, i), right[size_t(i - k)] = b.code(n, i);
      core::Row<core::E4m3> row, column;
      core::take_apart(row, left.data(), 1), core::take_apart(column, right.data(), 1);
      sum = core::multiply_add(sum, row, column);
    }
    if (promoted || end == depth) c = float(double(c) + double(a.scale(m, first) * b.scale(n, first)) * double(sum));
  }
  return c;
}

TEST_P(HopperProducts, AreStepByStepThoseOfTheTensorCore) {
  const int64_t t = 45, n = 37, k = 300;
  for (const bool promoted : {true, false}) {
    const auto mode = promoted ? Accumulation::hopper : Accumulation::hopper_unpromoted;
    for (const auto& [size, rule, result] :
         {std::tuple(128, ScaleRule::exact, DType::f32), {64, ScaleRule::power_of_two, DType::bf16}}) {
      const Tile row{1, size}, square{size, size}, column{size, 1};
      const Tensor x = random({t, k}, 1), w = random({n, k}, 2), dy = random({t, n}, 3), y = random({t, n}, 4, result),
                   dx = random({t, k}, 5, result), dw = random({n, k}, 6);
      const Quantised xq = ops::quantise(exec, x, row, rule), wq = ops::quantise(exec, w, square, rule),
                      dyq = ops::quantise(exec, dy, row, rule), xt = ops::quantise(exec, x, column, rule),
                      dyt = ops::quantise(exec, dy, column, rule);
      const auto expect_steps = [&, chunk = size](const Tensor& c, const Tensor& before, const Side& a, const Side& b,
                                                  int64_t depth) {
        for (int64_t i = 0; i < c.count(); i += 7) {
          const float sum = step_by_step(a, b, i / c.cols(), i % c.cols(), depth, chunk, promoted,
                                         before ? float(element(before, i)) : 0.0f);
          const double expected = c.dtype() == DType::bf16 ? double(float(bf16(sum))) : double(sum);
          ASSERT_EQ(element(c, i), expected) << i << " promoted " << promoted << " chunks of " << chunk;
        }
      };
      const Tensor dx_before = dx.clone(exec), dw_before = dw.clone(exec);
      ops::linear(exec, y, xq, wq, ops::Write::overwrite, mode);
      expect_steps(y, Tensor(), side_of(xq, false), side_of(wq, false), k);
      ops::linear_backward_input(exec, dx, dyq, wq, ops::Write::add, mode);
      expect_steps(dx, dx_before, side_of(dyq, false), side_of(wq, true), n);
      ops::linear_backward_weight(exec, dw, dyt, xt, ops::Write::add, mode);
      expect_steps(dw, dw_before, side_of(dyt, true), side_of(xt, true), t);
    }
  }
}

TEST_P(HopperProducts, OfGroupsAreThoseOfEach) {
  const std::vector<int32_t> offsets = {0, 40, 40, 41, 75};
  const Tensor x = random({75, 140}, 1), w = random({4, 30, 140}, 2), dy = random({75, 30}, 3),
               begins = Tensor::from(exec, offsets, {5});
  for (const auto mode : {Accumulation::hopper, Accumulation::hopper_unpromoted}) {
    const Tensor y = Tensor::zeros(exec, DType::f32, {75, 30}), dx = Tensor::zeros(exec, DType::f32, {75, 140}),
                 dw = Tensor::zeros(exec, DType::f32, {4, 30, 140});
    const Quantised xq = ops::quantise(exec, x, kRowTile), wq = ops::quantise(exec, w, kSquareTile),
                    dyq = ops::quantise(exec, dy, kRowTile);
    ops::grouped_linear(exec, y, xq, wq, begins, ops::Write::overwrite, mode);
    ops::grouped_linear_backward_input(exec, dx, dyq, wq, begins, ops::Write::overwrite, mode);
    ops::grouped_linear_backward_weight(exec, dw, dy, x, begins, ops::TokenTiles(), ops::Write::add, mode);
    for (int64_t e = 0; e < 4; ++e) {
      const int64_t first = offsets[size_t(e)], n = offsets[size_t(e + 1)] - first;
      if (n == 0) continue;
      const auto expect_same = [&](const Tensor& all, Shape shape, auto product) {
        const Tensor one = Tensor::zeros(exec, DType::f32, std::move(shape));
        product(one);
        ASSERT_EQ(std::memcmp(one.raw(), all.raw(), size_t(one.bytes())), 0) << e;
      };
      expect_same(y.row_range(first, n), {n, 30}, [&](const Tensor& c) {
        ops::linear(exec, c, xq.row_range(first, n), wq.slice(e), ops::Write::overwrite, mode);
      });
      expect_same(dx.row_range(first, n), {n, 140}, [&](const Tensor& c) {
        ops::linear_backward_input(exec, c, dyq.row_range(first, n), wq.slice(e), ops::Write::overwrite, mode);
      });
      expect_same(dw.slice(e), {30, 140}, [&](const Tensor& c) {
        ops::linear_backward_weight(exec, c, ops::quantise(exec, dy.row_range(first, n), kColumnTile),
                                    ops::quantise(exec, x.row_range(first, n), kColumnTile), ops::Write::add, mode);
      });
    }
  }
}

// One row of K codes each, all alike, under scales of 1.
TEST_P(HopperProducts, OfLongEqualSumsStopGrowingWithoutPromotion) {
  const auto sum = [&](float a, float b, Accumulation mode) {
    const auto codes = [&](float value) {
      const Quantised q = Quantised::empty(exec, {1, 4096}, kRowTile, DType::f32);
      std::memset(q.codes.raw(), e4m3::round(value), 4096);
      for (int64_t i = 0; i < 32; ++i) set_element(q.scales, i, 1);
      return q;
    };
    const Tensor y = Tensor::zeros(exec, DType::f32, {1, 1});
    ops::linear(exec, y, codes(a), codes(b), ops::Write::overwrite, mode);
    return element(y, 0);
  };
  EXPECT_EQ(sum(1, 1.125f, Accumulation::hopper), 4608);
  EXPECT_EQ(sum(1, 1.125f, Accumulation::hopper_unpromoted), 4324);
  EXPECT_EQ(sum(0.1015625f, 0.1015625f, Accumulation::hopper), 42.25);
  EXPECT_EQ(sum(0.1015625f, 0.1015625f, Accumulation::hopper_unpromoted), 38.7734375);
}

// ||difference|| / ||exact|| of products of codes of these values, whose scales hold for 128 elements, or for a row.
double error_of(const Exec& exec, int64_t depth, bool uniform, bool of_rows, Accumulation mode) {
  constexpr int64_t kSize = 48;
  const auto codes = [&](uint64_t stream) {
    const Tensor x = Tensor::empty(exec, DType::f32, {kSize, depth});
    for (int64_t i = 0; i < x.count(); ++i)
      set_element(x, i,
                  uniform ? double(random_below(1, stream, uint64_t(i), 1 << 24)) * 0x1p-24
                          : random_normal(1, stream, uint64_t(i)));
    const Quantised q = ops::quantise(exec, x, of_rows ? Tile{1, depth} : kRowTile);
    if (!of_rows) return q;
    const Quantised wide = Quantised::empty(exec, x.shape(), kRowTile, DType::f32);  // the same scale for every chunk
    wide.codes.copy_from(exec, q.codes);
    for (int64_t i = 0; i < wide.scales.count(); ++i)
      set_element(wide.scales, i, element(q.scales, i / wide.scales.cols()));
    return wide;
  };
  const Quantised a = codes(1), b = codes(2);
  const Tensor y = Tensor::zeros(exec, DType::f32, {kSize, kSize});
  ops::linear(exec, y, a, b, ops::Write::overwrite, mode);
  const auto values = [&](const Quantised& q) {
    std::vector<double> v(size_t(q.codes.count()));
    for (size_t i = 0; i < v.size(); ++i) {
      e4m3 code;
      code.bits = static_cast<const uint8_t*>(q.codes.raw())[i];
      v[i] = double(float(code)) *
             double(q.scales.data<float>()[int64_t(i) / depth * q.scales.cols() + int64_t(i) % depth / 128]);
    }
    return v;
  };
  const std::vector<double> left = values(a), right = values(b);
  double off = 0, size = 0;
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = 0; j < kSize; ++j) {
      double exact = 0;
      for (int64_t k = 0; k < depth; ++k) exact += left[size_t(i * depth + k)] * right[size_t(j * depth + k)];
      const double d = double(y.data<float>()[i * kSize + j]) - exact;
      off += d * d, size += exact * exact;
    }
  }
  return std::sqrt(off / size);
}

// Of every product 13 bits are left beside the largest of 33 numbers: 1.3e-4 of a product however deep it is, where a
// sum is moved to FP32 every 128; else an error that grows, and of positive numbers a bias towards zero.
TEST(HopperProductErrors, AreThoseThatAreKnown) {
  const OwnedExec owned(2, available_isas().back());
  const Exec& exec = owned.exec;
  constexpr auto kPromoted = Accumulation::hopper, kNever = Accumulation::hopper_unpromoted;
  for (const bool of_rows : {true, false}) {
    const auto expect = [&](int64_t depth, bool uniform, Accumulation mode, double expected) {
      const double error = error_of(exec, depth, uniform, of_rows, mode);
      std::printf("K %lld, %s, %s, scales of %s: %.2e\n", static_cast<long long>(depth),
                  uniform ? "uniform" : "Gaussian", mode == kNever ? "never promoted" : "promoted",
                  of_rows ? "rows" : "chunks", error);
      EXPECT_NEAR(error, expected, 0.2 * expected) << depth;
    };
    expect(128, false, kPromoted, 1.3e-4), expect(128, false, kNever, 1.3e-4);
    expect(512, false, kPromoted, 1.3e-4), expect(512, false, kNever, 3.2e-4);
    expect(4096, false, kPromoted, 1.3e-4), expect(4096, false, kNever, 1.4e-3);
    expect(4096, true, kPromoted, 5.5e-4), expect(4096, true, kNever, 7.5e-2);
    EXPECT_LT(error_of(exec, 4096, false, of_rows, Accumulation::fp32), 1e-6);
  }
}

// The outcome in every instruction set is the formula's; NaN comes through.
TEST(HopperProductBits, HaveTheFormulasBitsEverywhere) {
  const OwnedExec formula(1, Isa::reference);
  std::vector<uint8_t> bytes(64 * 200);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = uint8_t(random_below(1, 1, i, 256));
    if ((bytes[i] & 0x7f) == 0x7f) bytes[i] = 0;
  }
  bytes[5 * 200 + 7] = 0xff;
  const auto product = [&](const Exec& exec, Accumulation mode) {
    const Quantised q = Quantised::empty(exec, {64, 200}, kRowTile, DType::f32);
    std::memcpy(q.codes.raw(), bytes.data(), bytes.size());
    for (int64_t i = 0; i < q.scales.count(); ++i) set_element(q.scales, i, 0.01 * double(1 + i % 5));
    const Tensor y = Tensor::zeros(exec, DType::f32, {64, 64});
    ops::linear(exec, y, q, q, ops::Write::overwrite, mode);
    std::vector<float> all(y.data<float>(), y.data<float>() + 64 * 64);
    return all;
  };
  for (const auto mode : {Accumulation::hopper, Accumulation::hopper_unpromoted}) {
    const std::vector<float> expected = product(formula.exec, mode);
    EXPECT_GT(std::count_if(expected.begin(), expected.end(), [](float x) { return std::isnan(x); }), 0);
    EXPECT_GT(std::count_if(expected.begin(), expected.end(), [](float x) { return std::isfinite(x); }), 1000);
    for (const Isa isa : available_isas()) {
      const OwnedExec owned(3, isa);
      const std::vector<float> sums = product(owned.exec, mode);
      EXPECT_EQ(std::memcmp(sums.data(), expected.data(), 4 * sums.size()), 0) << isa_name(isa);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Places, HopperProducts, ::testing::ValuesIn(kernels_test::places()), [](const auto& info) {
  return std::string(info.param.on_device ? "device" : isa_name(info.param.isa));
});

}  // namespace
}  // namespace hadal
