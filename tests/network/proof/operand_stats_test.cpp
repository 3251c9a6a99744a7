// What is counted of an operand: by hand on few values, and against plain loops over codes on many, in every tiling.
#include "proof/operand_stats.h"

#include <map>

#include "base/float_formats.h"
#include "nn/numeric.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

using namespace hadal::testing;

TEST(OperandStats, FewValuesByHand) {
  const OwnedExec owned(1);
  // Largest 448: scale 1. 2^-10 is a tie and falls to zero, 2^-9 is the least subnormal, 1 lies 8 binades below.
  const Tensor x = Tensor::from(owned.exec, std::vector<float>{448, 1, 0x1p-9f, 0x1p-10f, 0, -450}, {2, 3});
  const Quantised codes = ops::quantise(owned.exec, x, {2, 3}, ScaleRule::exact);
  const Quantised clipped = codes;
  clipped.scales.data<float>()[0] = 1.0f;
  for (int i = 0; i < 6; ++i) static_cast<uint8_t*>(clipped.codes.raw())[i] = e4m3::round(float(element(x, i)));
  OperandStats s = operand_stats(owned.exec, x, clipped);
  EXPECT_EQ(s.count, 6);
  EXPECT_EQ(s.nonzero, 5);
  EXPECT_EQ(s.flushed, 1);
  EXPECT_EQ(s.subnormal, 1);
  EXPECT_EQ(s.saturated, 0);  // 450 rounds to 448
  EXPECT_EQ(s.histogram[0], 2);
  EXPECT_EQ(s.histogram[8], 1);
  EXPECT_EQ(s.histogram[17], 1);
  EXPECT_EQ(s.histogram[18], 1);
  EXPECT_EQ(s.binades(), 0);
  set_element(x, 5, -500);
  s = operand_stats(owned.exec, x, clipped);
  EXPECT_EQ(s.saturated, 1);
  EXPECT_NEAR(s.off, 52.0 * 52 + 0x1p-20, 1e-9);
  set_element(x, 0, std::numeric_limits<double>::quiet_NaN());
  s = operand_stats(owned.exec, x, clipped);
  EXPECT_EQ(s.not_finite, 1);
  EXPECT_TRUE(std::isfinite(s.error()));
}

// Rows of sizes 2^-r: a tile's own maximum decides, so that only tiles over several rows flush.
TEST(OperandStats, ManyValuesInEveryTiling) {
  const OwnedExec owned(2);
  const int64_t rows = 150, cols = 200;
  const Tensor x = random_tensor(owned.exec, {rows, cols}, 1, 1.0, DType::bf16);
  for (int64_t i = 0; i < x.count(); ++i) set_element(x, i, std::ldexp(element(x, i), int(-(i / cols) % 23)));
  for (const Tile tile : {kRowTile, kColumnTile, kSquareTile, Tile{1, 32}}) {
    const Quantised codes = ops::quantise(owned.exec, x, tile);
    const OperandStats s = operand_stats(owned.exec, x, codes);
    std::map<std::pair<int64_t, int64_t>, double> largest;
    const auto tile_of = [&](int64_t i) { return std::pair(i / cols / tile.rows, i % cols / tile.cols); };
    for (int64_t i = 0; i < x.count(); ++i)
      largest[tile_of(i)] = std::max(largest[tile_of(i)], std::abs(element(x, i)));
    OperandStats expected;
    double off = 0, size = 0, most = 0, least = 1e30;
    for (const auto& [place, value] : largest) most = std::max(most, value), least = std::min(least, value);
    for (int64_t i = 0; i < x.count(); ++i) {
      const double value = element(x, i), code = element(codes.codes, i);
      const double scale = element(codes.scales, tile_of(i).first * codes.scales.cols() + tile_of(i).second);
      off += (value - code * scale) * (value - code * scale), size += value * value;
      if (value == 0) continue;
      expected.nonzero += 1, expected.flushed += code == 0;
      expected.subnormal += code != 0 && std::abs(code) < 0x1p-6;
      ++expected.histogram[size_t(std::min(31.0, std::floor(std::log2(largest[tile_of(i)] / std::abs(value)))))];
    }
    EXPECT_EQ(s.nonzero, expected.nonzero);
    EXPECT_EQ(s.flushed, expected.flushed);
    EXPECT_EQ(s.subnormal, expected.subnormal);
    EXPECT_EQ(s.saturated, 0);
    EXPECT_EQ(s.histogram, expected.histogram);
    EXPECT_NEAR(s.error(), std::sqrt(off / size), 1e-6 * s.error());
    EXPECT_NEAR(s.binades(), std::log2(most / least), 1e-5);
    EXPECT_EQ(s.flushed > 0, tile.rows > 1) << tile.rows << " x " << tile.cols;
  }
}

// A stack of matrices, whose tiles do not cross from one into the next.
TEST(OperandStats, OfAStackIsTheSumOfItsMatrices) {
  const OwnedExec owned(2);
  const Tensor x = random_tensor(owned.exec, {3, 70, 130}, 1, 1.0, DType::f32);
  const Quantised codes = ops::quantise(owned.exec, x, kSquareTile);
  const OperandStats all = operand_stats(owned.exec, x, codes);
  OperandStats sum;
  for (int64_t e = 0; e < 3; ++e) sum.merge(operand_stats(owned.exec, x.slice(e), codes.slice(e)));
  EXPECT_EQ(all.histogram, sum.histogram);
  EXPECT_EQ(all.count, 3 * 70 * 130);
  EXPECT_NEAR(all.off, sum.off, 1e-9 * sum.off);
  EXPECT_NEAR(all.error(), 0.0257, 0.0015);  // Gaussian values
}

}  // namespace
}  // namespace hadal
