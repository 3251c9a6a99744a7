// Products of FP8 codes against the formula of §3.5 written out, in every pass, and against FP64 within the format's
// bound.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/random.h"
#include "kernels/places_fixture.h"
#include "ops/matmul.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

class CodeProducts : public ::testing::TestWithParam<kernels_test::Place> {
 protected:
  Tensor random(Shape shape, uint64_t stream, DType dtype = DType::f32) {
    const Tensor t = Tensor::empty(exec, dtype, std::move(shape));
    for (int64_t i = 0; i < t.count(); ++i) set_element(t, i, random_normal(3, stream, uint64_t(i)));
    return t;
  }
  Tensor zeros(Shape shape, DType dtype = DType::f32) { return Tensor::zeros(exec, dtype, std::move(shape)); }
  const kernels_test::ExecAt owned{GetParam(), 2};
  const Exec& exec = owned.exec;
};

// Code and scale of element (i, k), where k is the summed dimension: along columns, or along rows. Read from the tensor
// once: a formula asks for each code a hundred times.
class Side {
 public:
  Side(const Quantised& q, bool sum_rows) : q_(q), sum_rows_(sum_rows), codes_(size_t(q.codes.count())) {
    for (size_t i = 0; i < codes_.size(); ++i) codes_[i] = element(q.codes, int64_t(i));
  }
  int64_t chunk() const { return sum_rows_ ? q_.tile.rows : q_.tile.cols; }
  int64_t depth() const { return sum_rows_ ? q_.rows() : q_.cols(); }
  double code(int64_t i, int64_t k) const { return codes_[size_t(sum_rows_ ? k * q_.cols() + i : i * q_.cols() + k)]; }
  float scale(int64_t i, int64_t k) const {
    const int64_t r = (sum_rows_ ? k : i) / q_.tile.rows, c = (sum_rows_ ? i : k) / q_.tile.cols;
    return float(element(q_.scales, r * q_.scales.cols() + c));
  }

 private:
  const Quantised& q_;
  const bool sum_rows_;
  std::vector<double> codes_;
};

// C[m,n] = sum_b sa sb sum_{k in b} A B: inner sums exact (codes are small), the outer in FP32 as the machine of the
// report.
float formula(const Side& a, const Side& b, int64_t m, int64_t n, float before) {
  float total = before;
  for (int64_t first = 0; first < a.depth(); first += a.chunk()) {
    double sum = 0;
    for (int64_t k = first; k < std::min(a.depth(), first + a.chunk()); ++k) sum += a.code(m, k) * b.code(n, k);
    total += a.scale(m, first) * b.scale(n, first) * float(sum);
  }
  return total;
}

void expect_formula(const Tensor& c, const Side& a, const Side& b, const Tensor& before) {
  double size = 0;
  for (int64_t i = 0; i < c.count(); ++i) size = std::max(size, std::abs(element(c, i)));
  ASSERT_GT(size, 0);
  for (int64_t i = 0; i < c.count(); ++i) {
    const float expected = formula(a, b, i / c.cols(), i % c.cols(), before ? float(element(before, i)) : 0.0f);
    // The inner sum of 128 exact products rounds in FP32; a BF16 result rounds once more.
    const double bound = c.dtype() == DType::bf16 ? 0x1p-8 * std::abs(double(expected)) + 1e-5 * size : 1e-5 * size;
    ASSERT_NEAR(element(c, i), expected, bound) << i / c.cols() << " " << i % c.cols();
  }
}

TEST_P(CodeProducts, AllThreePassesFollowTheFormula) {
  for (const DType result : {DType::f32, DType::bf16}) {
    for (const ScaleRule rule : {ScaleRule::exact, ScaleRule::power_of_two}) {
      const int64_t t = 150, n = 140, k = 300;
      const Tensor x = random({t, k}, 1), w = random({n, k}, 2), dy = random({t, n}, 3);
      const Quantised xq = ops::quantise(exec, x, kRowTile, rule), wq = ops::quantise(exec, w, kSquareTile, rule),
                      dyq = ops::quantise(exec, dy, kRowTile, rule), xt = ops::quantise(exec, x, kColumnTile, rule),
                      dyt = ops::quantise(exec, dy, kColumnTile, rule);
      const Tensor y = zeros({t, n}, result), dx = random({t, k}, 4, result), dw = random({n, k}, 5),
                   dx_before = dx.clone(exec), dw_before = dw.clone(exec);
      ops::linear(exec, y, xq, wq);
      expect_formula(y, {xq, false}, {wq, false}, Tensor());
      ops::linear_backward_input(exec, dx, dyq, wq, ops::Write::add);
      expect_formula(dx, {dyq, false}, {wq, true}, dx_before);
      ops::linear_backward_weight(exec, dw, dyt, xt);
      expect_formula(dw, {dyt, true}, {xt, true}, dw_before);
    }
  }
}

// Codes of a part of a matrix, from `first` on along the rows or columns, in the tiles of the whole.
Quantised part_of(const Exec& exec, const Quantised& whole, bool rows, int64_t first, int64_t count) {
  const int64_t tile = rows ? whole.tile.rows : whole.tile.cols, within = first % tile;
  const Tensor codes = rows ? whole.codes.row_range(first, count) : whole.codes.col_range(first, count);
  const int64_t tiles = (within + count + tile - 1) / tile;
  const Tensor scales =
      rows ? whole.scales.row_range(first / tile, tiles) : whole.scales.col_range(first / tile, tiles);
  Quantised part{codes, scales, whole.tile, whole.source, whole.rule};
  part.origin = rows ? TileOrigin{within, 0} : TileOrigin{0, within};
  return part;
}

// Two ranks' parts of the summed dimension, cut inside of a tile, add up to the whole product; their parts of what is
// not summed have its bits.
TEST_P(CodeProducts, OfPartsThatBeginInsideOfATileAreThoseOfTheWhole) {
  if (GetParam().on_device) GTEST_SKIP() << "a device has no FP8 training";
  const int64_t t = 33, n = 300, k = 290;
  const Tensor x = random({t, k}, 1), w = random({n, k}, 2), dy = random({t, n}, 3);
  for (const ScaleRule rule : {ScaleRule::exact, ScaleRule::power_of_two}) {
    for (const Tile tile : {kSquareTile, Tile{32, 32}}) {
      const Tile row{1, tile.cols};
      const Quantised xq = ops::quantise(exec, x, row, rule), wq = ops::quantise(exec, w, tile, rule),
                      dyq = ops::quantise(exec, dy, row, rule);
      const Tensor y = zeros({t, n}), dx = zeros({t, k});
      ops::linear(exec, y, xq, wq);
      ops::linear_backward_input(exec, dx, dyq, wq);
      for (const int64_t cut : {int64_t(20), int64_t(150), int64_t(289)}) {
        const auto near = [&](const Tensor& sum, const Tensor& whole) {
          double size = 0;
          for (int64_t i = 0; i < whole.count(); ++i) size = std::max(size, std::abs(element(whole, i)));
          for (int64_t i = 0; i < whole.count(); ++i)
            ASSERT_NEAR(element(sum, i), element(whole, i), 1e-6 * size) << i << " cut at " << cut;
        };
        const auto same = [&](const Tensor& part, const Tensor& whole, int64_t first) {
          for (int64_t i = 0; i < part.count(); ++i)
            ASSERT_EQ(element(part, i), element(whole, i / part.cols() * whole.cols() + first + i % part.cols()))
                << i << " cut at " << cut;
        };
        const Tensor sum = zeros({t, n}), sum_dx = zeros({t, k});
        for (const auto& [first, count] : {std::pair(int64_t(0), cut), std::pair(cut, k - cut)}) {
          const Quantised w_part = part_of(exec, wq, false, first, count);
          ops::linear(exec, sum, part_of(exec, xq, false, first, count), w_part, ops::Write::add);
          const Tensor some = zeros({t, count});
          ops::linear_backward_input(exec, some, dyq, w_part);
          same(some, dx, first);
        }
        near(sum, y);
        for (const auto& [first, count] : {std::pair(int64_t(0), cut), std::pair(cut, n - cut)}) {
          const Quantised w_part = part_of(exec, wq, true, first, count);
          ops::linear_backward_input(exec, sum_dx, part_of(exec, dyq, false, first, count), w_part, ops::Write::add);
          const Tensor some = zeros({t, count});
          ops::linear(exec, some, xq, w_part);
          same(some, y, first);
        }
        near(sum_dx, dx);
      }
    }
  }
  const Quantised xq = part_of(exec, ops::quantise(exec, x, kRowTile), false, 20, 200);
  const Quantised wq = ops::quantise(exec, w, kSquareTile);
  EXPECT_ERROR(ops::linear(exec, zeros({t, n}), xq, part_of(exec, wq, false, 21, 200)), ErrorKind::internal,
               "operands begin at 20 and 21 of the tiles that are summed");
  EXPECT_ERROR(ops::linear(exec, zeros({t, n}, DType::bf16), xq, part_of(exec, wq, false, 20, 200)),
               ErrorKind::internal, "a sum in two parts is F32, not BF16");
}

// Scales that are powers of two change no digit, so chunk by chunk the sums are those of the values.
TEST_P(CodeProducts, WithPowersOfTwoHaveTheBitsOfTheProductOfTheirValues) {
  if (GetParam().on_device || exec.isa == Isa::avx512_amx) GTEST_SKIP() << "values are not summed in chunks there";
  const int64_t t = 150, n = 140, k = 300;
  const Tensor x = random({t, k}, 1, DType::bf16), w = random({n, k}, 2, DType::bf16),
               dy = random({t, n}, 3, DType::bf16);
  const auto codes = [&](const Tensor& from, Tile tile) {
    return ops::quantise(exec, from, tile, ScaleRule::power_of_two);
  };
  const auto expect_same = [&](const Shape& shape, auto product, const Quantised& a, const Quantised& b) {
    const Tensor of_codes = zeros(shape), of_values = zeros(shape);
    product(of_codes, Activation(a), Activation(b));
    product(of_values, Activation(ops::dequantise(exec, a)), Activation(ops::dequantise(exec, b)));
    EXPECT_EQ(std::memcmp(of_codes.raw(), of_values.raw(), size_t(of_codes.bytes())), 0);
  };
  const auto call = [&](auto op) {
    return [&, op](const Tensor& c, const Activation& a, const Activation& b) {
      op(exec, c, a, b, ops::Write::add, ops::Accumulation::fp32);
    };
  };
  using Op = void (*)(const Exec&, const Tensor&, const Activation&, const Activation&, ops::Write, ops::Accumulation);
  const Quantised wq = codes(w, kSquareTile);
  expect_same({t, n}, call(Op(ops::linear)), codes(x, kRowTile), wq);
  expect_same({t, k}, call(Op(ops::linear_backward_input)), codes(dy, kRowTile), wq);
  expect_same({n, k}, call(Op(ops::linear_backward_weight)), codes(dy, kColumnTile), codes(x, kColumnTile));
}

// Blocks of MX, whose weights have a set of codes for each product: their values, which BF16 holds, are multiplied as
// BF16 is; by the formulas codes are. Whatever the sums' order, they are near those in double precision.
TEST_P(CodeProducts, OfMxAreThoseOfTheirValues) {
  const int64_t t = 75, n = 140, k = 150, experts = 3;
  const std::vector<int32_t> offsets = {0, 40, 40, 75};
  const Tensor begins = Tensor::from(exec, offsets, {4});
  const Tensor x = random({t, k}, 1, DType::bf16), w = random({experts, n, k}, 2), dy = random({t, n}, 3, DType::bf16);
  for (const ScaleRule rule : {ScaleRule::power_of_two, ScaleRule::ocp}) {
    const auto codes = [&](const Tensor& from, Tile tile) { return ops::quantise(exec, from, tile, rule); };
    const auto in_bf16 = [&](const Quantised& q) {
      const Tensor values = Tensor::empty(exec, DType::bf16, q.codes.shape());
      dequantise(exec, values, q);
      const Tensor wide = Tensor::empty(exec, DType::f32, q.codes.shape());
      dequantise(exec, wide, q);
      for (int64_t i = 0; i < wide.count(); ++i) EXPECT_EQ(element(values, i), element(wide, i));  // exactly
      return values;
    };
    const bool same = !GetParam().on_device && exec.isa != Isa::reference;
    const auto expect_values = [&](const Shape& shape, auto product, const Quantised& a, const Quantised& b) {
      const Tensor of_codes = zeros(shape), of_values = zeros(shape);
      product(of_codes, Activation(a), Activation(b));
      product(of_values, Activation(in_bf16(a)), Activation(in_bf16(b)));
      EXPECT_TRUE(!same || std::memcmp(of_codes.raw(), of_values.raw(), size_t(of_codes.bytes())) == 0);
      double off = 0, size = 0;
      for (int64_t i = 0; i < of_codes.count(); ++i) {
        const double difference = element(of_codes, i) - element(of_values, i);
        off += difference * difference, size += element(of_values, i) * element(of_values, i);
      }
      EXPECT_GT(size, 0);
      EXPECT_LT(std::sqrt(off / size), 1e-6);
    };
    const Quantised rows = codes(x, kMxRowTile), of_dy = codes(dy, kMxRowTile), weights = codes(w, kMxRowTile),
                    turned = codes(w, kMxColumnTile), columns = codes(x, kMxColumnTile),
                    dy_columns = codes(dy, kMxColumnTile);
    using A = const Activation&;
    expect_values(
        {t, n}, [&](const Tensor& c, A a, A b) { ops::linear(exec, c, a, b); }, rows, weights.slice(1));
    expect_values(
        {t, k}, [&](const Tensor& c, A a, A b) { ops::linear_backward_input(exec, c, a, b); }, of_dy, turned.slice(1));
    expect_values(
        {n, k}, [&](const Tensor& c, A a, A b) { ops::linear_backward_weight(exec, c, a, b); }, dy_columns, columns);
    expect_values(
        {t, n}, [&](const Tensor& c, A a, A b) { ops::grouped_linear(exec, c, a, b, begins); }, rows, weights);
    expect_values(
        {t, k}, [&](const Tensor& c, A a, A b) { ops::grouped_linear_backward_input(exec, c, a, b, begins); }, of_dy,
        turned);
  }
  EXPECT_ERROR(ops::linear_backward_input(exec, zeros({t, k}), ops::quantise(exec, dy, kMxRowTile),
                                          ops::quantise(exec, w.slice(0), kMxRowTile)),
               ErrorKind::internal, "scales change every 32 and every 1 of the summed elements");
}

TEST_P(CodeProducts, AreWithinTheFormatsBoundOfFp64AndNotCloser) {
  const int64_t m = 20, n = 24, k = 1000;
  const Tensor x = random({m, k}, 1), w = random({n, k}, 2), y = zeros({m, n});
  ops::linear(exec, y, ops::quantise(exec, x, kRowTile), ops::quantise(exec, w, kSquareTile));
  double error = 0, norm = 0;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double exact = 0, size = 0;
      for (int64_t l = 0; l < k; ++l) {
        const double product = element(x, i * k + l) * element(w, j * k + l);
        exact += product, size += std::abs(product);
      }
      const double off = std::abs(element(y, i * n + j) - exact);
      EXPECT_LE(off, (2 * 0x1p-4 + 0x1p-8) * size + 1e-3 * std::sqrt(double(k)));  // each factor is off by 2^-4 at most
      error += off * off, norm += exact * exact;
    }
  }
  EXPECT_LT(std::sqrt(error / norm), 0.05);
  EXPECT_GT(std::sqrt(error / norm), 0.005);
}

TEST_P(CodeProducts, ARowsBitsDoNotDependOnItsNeighboursOrThreads) {
  const Tensor x = random({130, 200}, 1), w = random({70, 200}, 2), y = zeros({130, 70}), one = zeros({1, 70});
  const Quantised wq = ops::quantise(exec, w, kSquareTile), xq = ops::quantise(exec, x, kRowTile);
  ops::linear(exec, y, xq, wq);
  const kernels_test::ExecAt single(GetParam(), 1);
  for (const int64_t row : {0, 31, 32, 129}) {
    ops::linear(single.exec, one, xq.row_range(row, 1), wq);
    for (int64_t c = 0; c < 70; ++c) EXPECT_EQ(element(one, c), element(y, row * 70 + c));
  }
}

TEST_P(CodeProducts, CodesMeetAPlainOperandAsTheirValues) {
  const Tensor x = random({40, 130}, 1), w = random({30, 130}, 2), y = zeros({40, 30}), expected = zeros({40, 30});
  const Quantised xq = ops::quantise(exec, x, kRowTile), wq = ops::quantise(exec, w, kSquareTile);
  ops::linear(exec, y, xq, w);
  ops::linear(exec, expected, ops::dequantise(exec, xq), w);
  for (int64_t i = 0; i < y.count(); ++i) EXPECT_EQ(element(y, i), element(expected, i));
  ops::linear(exec, y, x, wq);
  ops::linear(exec, expected, x, ops::dequantise(exec, wq));
  for (int64_t i = 0; i < y.count(); ++i) EXPECT_EQ(element(y, i), element(expected, i));
}

TEST_P(CodeProducts, GroupsEqualOneProductEachToTheBitWithEmptyGroups) {
  const std::vector<int64_t> offsets = {0, 70, 70, 75, 205};
  const Tensor x = random({205, 140}, 1), w = random({4, 30, 140}, 2), dy = random({205, 30}, 3), y = zeros({205, 30}),
               dx = zeros({205, 140}), dw = zeros({4, 30, 140}), y1 = zeros({205, 30}), dx1 = zeros({205, 140}),
               dw1 = zeros({4, 30, 140});
  const Quantised xq = ops::quantise(exec, x, kRowTile), wq = ops::quantise(exec, w, kSquareTile),
                  dyq = ops::quantise(exec, dy, kRowTile);
  const Tensor begins = Tensor::from(exec, std::vector<int32_t>(offsets.begin(), offsets.end()), {5});
  ops::grouped_linear(exec, y, xq, wq, begins);
  ops::grouped_linear_backward_input(exec, dx, dyq, wq, begins);
  ops::grouped_linear_backward_weight(exec, dw, dy, x, begins, ops::TokenTiles());
  for (int64_t e = 0; e < 4; ++e) {
    const int64_t first = offsets[size_t(e)], n = offsets[size_t(e + 1)] - first;
    if (n == 0) continue;
    ops::linear(exec, y1.row_range(first, n), xq.row_range(first, n), ops::quantise(exec, w.slice(e), kSquareTile));
    ops::linear_backward_input(exec, dx1.row_range(first, n), dyq.row_range(first, n), wq.slice(e));
    ops::linear_backward_weight(exec, dw1.slice(e), ops::quantise(exec, dy.row_range(first, n), kColumnTile),
                                ops::quantise(exec, x.row_range(first, n), kColumnTile));
  }
  for (const auto& [all, each] : {std::pair(y, y1), std::pair(dx, dx1), std::pair(dw, dw1)}) {
    for (int64_t i = 0; i < all.count(); ++i) ASSERT_EQ(element(all, i), element(each, i));
  }
}

TEST_P(CodeProducts, GatheredCodesAreTheCodesOfGatheredRows) {
  const Tensor index = Tensor::from(exec, std::vector<int32_t>{3, 0, 3, 4}, {4});
  const Tensor x = random({5, 200}, 1);
  const Activation gathered = ops::gather_rows(exec, ops::quantise(exec, x, kRowTile), index),
                   plain = ops::gather_rows(exec, Activation(x), index);
  const Quantised expected = ops::quantise(exec, plain.tensor(), kRowTile);
  for (int64_t i = 0; i < 800; ++i) EXPECT_EQ(element(gathered.quantised().codes, i), element(expected.codes, i));
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(element(gathered.quantised().scales, i), element(expected.scales, i));
  EXPECT_ERROR(ops::gather_rows(exec, Activation(ops::quantise(exec, x, kColumnTile)), index), ErrorKind::internal,
               "rows of codes in tiles of 128 x 1 cannot be moved one by one");
}

TEST_P(CodeProducts, CodesThatArePutSomewhereStandThere) {
  const Tensor index = Tensor::from(exec, std::vector<int32_t>{5, 0, 2}, {3});
  Activation to;
  for (const ScaleRule rule : {ScaleRule::power_of_two, ScaleRule::exact}) {  // scales of a byte, and of four
    const Quantised from = ops::quantise(exec, random({3, 200}, 1), kRowTile, rule);
    to = ops::quantise(exec, random({7, 200}, 2), kRowTile, rule);
    ops::put_rows(exec, to, from, index);
    const Activation back = ops::gather_rows(exec, to, index);
    EXPECT_EQ(back.quantised().scales.dtype(), scale_type(rule));
    for (int64_t i = 0; i < 600; ++i) EXPECT_EQ(element(back.quantised().codes, i), element(from.codes, i));
    for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(element(back.quantised().scales, i), element(from.scales, i));
  }
  EXPECT_ERROR(
      ops::put_rows(exec, to, ops::quantise(exec, random({3, 200}, 1), kRowTile, ScaleRule::power_of_two), index),
      ErrorKind::internal, "1 x 128 with scales F8_E8M0 are put among some of 1 x 128 with scales F32");
  EXPECT_ERROR(ops::put_rows(exec, to, ops::quantise(exec, random({3, 200}, 1), Tile{1, 32}), index),
               ErrorKind::internal, "codes in tiles of 1 x 32 with scales F32 are put among some of 1 x 128");
}

TEST_P(CodeProducts, RefuseTilesThatDoNotMeetAndFp64Results) {
  const Tensor x = random({40, 256}, 1), w = random({30, 256}, 2), y = zeros({40, 30});
  const Quantised wq = ops::quantise(exec, w, kSquareTile);
  EXPECT_ERROR(ops::linear(exec, y, ops::quantise(exec, x, Tile{1, 32}), wq), ErrorKind::internal,
               "linear: scales change every 32 and every 128 of the summed elements");
  EXPECT_ERROR(ops::linear(exec, y, ops::quantise(exec, x, kColumnTile), wq), ErrorKind::internal,
               "linear: scales change every 1 and every 128 of the summed elements");
  EXPECT_ERROR(ops::linear(exec, zeros({40, 30}, DType::f64), ops::quantise(exec, x, kRowTile), wq),
               ErrorKind::internal, "linear: the product of FP8 codes is F32 or BF16, not F64");
  EXPECT_ERROR(ops::linear(exec, zeros({40, 31}), ops::quantise(exec, x, kRowTile), wq), ErrorKind::internal,
               "linear: codes of [40, 256] and [30, 256] do not make [40, 31]");
  ops::linear(exec, y, ops::quantise(exec, x, Tile{1, 32}),
              ops::quantise(exec, w, Tile{32, 32}));  // finer tiles that meet
}

INSTANTIATE_TEST_SUITE_P(Places, CodeProducts, ::testing::ValuesIn(kernels_test::places()), [](const auto& info) {
  return std::string(info.param.on_device ? "device" : isa_name(info.param.isa));
});

}  // namespace
}  // namespace hadal
