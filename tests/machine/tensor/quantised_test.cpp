// The quantiser of §3.5 against its formula written out, its edges, and the handle that carries codes or a tensor.
#include "tensor/quantised.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/float_formats.h"
#include "base/random.h"

namespace hadal {
namespace {

class QuantisedTest : public ::testing::Test {
 protected:
  Tensor random(Shape shape, DType dtype = DType::f32, uint64_t stream = 1) {
    const Tensor t = Tensor::empty(exec, dtype, std::move(shape));
    for (int64_t i = 0; i < t.count(); ++i) {
      const double size = std::exp2(double(int64_t(random_below(5, stream, uint64_t(i), 13)) - 6));
      set_element(t, i, size * random_normal(3, stream, uint64_t(i)));
    }
    return t;
  }
  Quantised codes_of(const Tensor& x, Tile tile, ScaleRule rule = ScaleRule::exact,
                     AmaxFloor floor = AmaxFloor::released) {
    const Quantised q = Quantised::empty(exec, x.shape(), tile, x.dtype(), rule);
    quantise(exec, q, x, floor);
    return q;
  }
  OwnedExec owned{2};
  const Exec& exec = owned.exec;
};

// The scale of the tile that holds (row, col), by the formula, from the values.
float expected_scale(const Tensor& x, Tile tile, int64_t row, int64_t col, ScaleRule rule) {
  float amax = 0;
  for (int64_t r = row / tile.rows * tile.rows; r < std::min(x.rows(), (row / tile.rows + 1) * tile.rows); ++r) {
    for (int64_t c = col / tile.cols * tile.cols; c < std::min(x.cols(), (col / tile.cols + 1) * tile.cols); ++c)
      amax = std::max(amax, std::fabs(float(element(x, r * x.cols() + c))));
  }
  const float scale = std::max(amax, 1e-4f) / 448.0f;
  return rule == ScaleRule::exact ? scale : float(std::exp2(std::ceil(std::log2(double(scale)))));
}

TEST_F(QuantisedTest, CodesAndScalesFollowTheFormulaWithPartialTilesAtTheEdges) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    for (const Tile tile : {kRowTile, kSquareTile, kColumnTile, Tile{1, 32}}) {
      for (const ScaleRule rule : {ScaleRule::exact, ScaleRule::power_of_two}) {
        const Tensor x = random({131, 200}, dtype);
        const Quantised q = codes_of(x, tile, rule);
        ASSERT_EQ(q.scales.shape(), (Shape{(131 + tile.rows - 1) / tile.rows, (200 + tile.cols - 1) / tile.cols}));
        for (int64_t row = 0; row < 131; row += tile.rows) {
          for (int64_t col = 0; col < 200; col += tile.cols) {
            ASSERT_EQ(float(element(q.scales, row / tile.rows * q.scales.cols() + col / tile.cols)),
                      expected_scale(x, tile, row, col, rule))
                << row << " " << col;
          }
        }
        for (int64_t i = 0; i < x.count(); ++i) {
          const int64_t tile_of = i / 200 / tile.rows * q.scales.cols() + i % 200 / tile.cols;
          const float scale = float(element(q.scales, tile_of));
          ASSERT_EQ(element(q.codes, i), double(float(e4m3(float(element(x, i)) / scale)))) << i;
        }
      }
    }
  }
}

TEST_F(QuantisedTest, ValuesComeBackWithinHalfAStepOfTheFormat) {
  for (const ScaleRule rule : {ScaleRule::exact, ScaleRule::power_of_two}) {
    const Tensor x = random({37, 300}), back = Tensor::empty(exec, DType::f32, {37, 300});
    const Quantised q = codes_of(x, kRowTile, rule);
    dequantise(exec, back, q);
    double largest = 0;
    for (int64_t i = 0; i < x.count(); ++i) {
      const double scale = element(q.scales, i / 300 * 3 + i % 300 / 128), value = element(x, i);
      // 3 bits after the point: half a step is 2^-4 of a normal number, 2^-10 of the scale below 2^-6 of it.
      EXPECT_LE(std::abs(element(back, i) - value), std::max(0x1p-4 * std::abs(value), 0x1.001p-10 * scale));
      largest = std::max(largest, std::abs(element(back, i) - value) / std::max(std::abs(value), 1e-30));
    }
    EXPECT_GT(largest, 0.01);  // it is FP8
  }
}

TEST_F(QuantisedTest, ARowHasTheSameCodesAloneAndBetweenNeighbours) {
  const Tensor x = random({9, 260});
  const Quantised all = codes_of(x, kRowTile), one = codes_of(x.row_range(4, 1), kRowTile);
  for (int64_t c = 0; c < 260; ++c) EXPECT_EQ(element(one.codes, c), element(all.codes, 4 * 260 + c));
  for (int64_t b = 0; b < 3; ++b) EXPECT_EQ(element(one.scales, b), element(all.scales, 4 * 3 + b));
}

TEST_F(QuantisedTest, TakesColumnViews) {
  const Tensor x = random({5, 300}), view = x.col_range(17, 140);
  const Quantised a = codes_of(view, kRowTile), b = codes_of(view.clone(exec).view({5, 140}), kRowTile);
  for (int64_t i = 0; i < 5 * 140; ++i) EXPECT_EQ(element(a.codes, i), element(b.codes, i));
}

TEST_F(QuantisedTest, TilesOfAStackStayInTheirMatrix) {
  const Tensor x = random({3, 130, 140});
  const Quantised stack = codes_of(x, kSquareTile);
  EXPECT_EQ(stack.scales.shape(), (Shape{3, 2, 2}));
  for (int64_t e = 0; e < 3; ++e) {
    const Quantised alone = codes_of(x.slice(e), kSquareTile), slice = stack.slice(e);
    for (int64_t i = 0; i < alone.codes.count(); ++i) ASSERT_EQ(element(slice.codes, i), element(alone.codes, i));
    for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(element(slice.scales, i), element(alone.scales, i));
  }
}

TEST_F(QuantisedTest, ZerosHaveTheSmallestScaleAndNanStaysNan) {
  const Tensor x = Tensor::zeros(exec, DType::f32, {2, 128});
  set_element(x, 128 + 3, std::numeric_limits<double>::quiet_NaN());
  set_element(x, 128 + 4, 2.0);
  const Quantised q = codes_of(x, kRowTile);
  EXPECT_EQ(float(element(q.scales, 0)), 1e-4f / 448.0f);
  EXPECT_EQ(element(q.codes, 0), 0.0);
  EXPECT_TRUE(std::isnan(element(q.codes, 128 + 3)));
  EXPECT_EQ(element(q.codes, 128 + 4), 448.0);  // a NaN beside it does not disturb the scale
}

// A byte for each scale; a tile that holds an infinity has no scale, and is NaN.
TEST_F(QuantisedTest, PowersOfTwoAreKeptInAByte) {
  const Tensor x = random({9, 300}, DType::bf16);
  set_element(x, 2 * 300 + 5, std::numeric_limits<double>::infinity());
  const Quantised q = codes_of(x, kRowTile, ScaleRule::power_of_two, AmaxFloor::none), wide = q.with_wide_scales(exec);
  EXPECT_EQ(q.scales.dtype(), DType::f8_e8m0);
  EXPECT_EQ(q.bytes(), 9 * 300 + 9 * 3);
  EXPECT_EQ(q.bytes(), Quantised::bytes_of({9, 300}, kRowTile, DType::f8_e8m0));
  EXPECT_EQ(wide.scales.dtype(), DType::f32);
  EXPECT_EQ(wide.codes.raw(), q.codes.raw());
  EXPECT_EQ(static_cast<const uint8_t*>(q.scales.raw())[2 * 3], 0xff);
  const Tensor back = Tensor::empty(exec, DType::f32, {9, 300}), part = Tensor::empty(exec, DType::f32, {4, 44});
  dequantise(exec, back, q);
  dequantise(exec, part, q.row_range(5, 4).col_range(256, 44));
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t row = i / 300, col = i % 300;
    const double scale = element(wide.scales, row * 3 + col / 128);
    ASSERT_EQ(std::isnan(element(back, i)), row == 2 && col < 128) << i;
    if (std::isnan(element(back, i))) continue;
    ASSERT_EQ(element(back, i), element(q.codes, i) * scale) << i;
    ASSERT_EQ(std::exp2(std::round(std::log2(scale))), scale);
    if (row >= 5 && col >= 256) {
      ASSERT_EQ(element(part, (row - 5) * 44 + col - 256), element(back, i));
    }
  }
  EXPECT_ERROR(quantise(exec, Quantised::empty(exec, {9, 300}, kRowTile, DType::f32, ScaleRule::exact, DType::f8_e8m0),
                        x, AmaxFloor::none),
               ErrorKind::internal, "scales in E8M0, which are powers of two, by another rule");
}

TEST_F(QuantisedTest, RangesBeginWhereATileBegins) {
  const Tensor x = random({256, 300});
  const Quantised q = codes_of(x, kSquareTile);
  const Quantised part = q.row_range(128, 100).col_range(256, 44);
  EXPECT_EQ(part.scales.shape(), (Shape{1, 1}));
  EXPECT_EQ(element(part.scales, 0), element(q.scales, 3 + 2));
  EXPECT_EQ(element(part.codes, 0), element(q.codes, 128 * 300 + 256));
  EXPECT_ERROR(q.row_range(100, 20), ErrorKind::internal, "rows from 100 of codes [256, 300] cut a tile of 128 rows");
  EXPECT_ERROR(q.col_range(100, 20), ErrorKind::internal,
               "columns from 100 of codes [256, 300] cut a tile of 128 columns");
}

TEST_F(QuantisedTest, RefusesScalesAndTypesThatDoNotFit) {
  const Tensor x = random({4, 256});
  Quantised q = codes_of(x, kRowTile);
  EXPECT_ERROR(dequantise(exec, Tensor::empty(exec, DType::i32, {4, 256}), q), ErrorKind::internal,
               "I32 has no FP8 codes; F64, F32 and BF16 have");
  EXPECT_ERROR(dequantise(exec, Tensor::empty(exec, DType::f32, {4, 255}), q), ErrorKind::internal,
               "values of [4, 255] and codes of [4, 256]");
  q.scales = Tensor::empty(exec, DType::f32, {4, 1});
  EXPECT_ERROR(dequantise(exec, x, q), ErrorKind::internal,
               "codes F8_E4M3 [4, 256] in tiles of 1 x 128 have scales F32 [4, 1]");
}

TEST_F(QuantisedTest, AnActivationIsATensorOrCodesAndSaysWhich) {
  const Tensor x = random({6, 256}, DType::bf16);
  Activation plain = x, coded = codes_of(x, kRowTile);
  EXPECT_FALSE(plain.is_quantised());
  EXPECT_EQ(plain.tensor().raw(), x.raw());
  EXPECT_TRUE(coded.is_quantised());
  EXPECT_EQ(coded.dtype(), DType::bf16);
  EXPECT_EQ(coded.rows(), 6);
  EXPECT_EQ(coded.cols(), 256);
  EXPECT_EQ(plain.bytes(), 6 * 256 * 2);
  EXPECT_EQ(coded.bytes(), 6 * 256 + 6 * 2 * 4);
  EXPECT_EQ(coded.row_range(2, 3).rows(), 3);
  EXPECT_EQ(plain.col_range(2, 3).tensor().cols(), 3);
  EXPECT_ERROR(coded.tensor(), ErrorKind::internal, "an activation of FP8 codes is read as a plain tensor");
  EXPECT_ERROR(plain.quantised(), ErrorKind::internal, "a plain activation is read as FP8 codes");
  EXPECT_TRUE(plain && coded);
  coded.reset();
  EXPECT_FALSE(coded || Activation());
}

}  // namespace
}  // namespace hadal
