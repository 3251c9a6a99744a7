// Published and computed vectors of the FP8 recipe, at every place: scales, codes of all operands and the three
// products of one small linear, under both rules of scales; what a floor does to small gradients; what becomes of codes
// that are made again in other tiles. The numbers were made with numpy and ml_dtypes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/expect_error.h"
#include "kernels/places_fixture.h"
#include "ops/matmul.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

class Fp8Vectors : public ::testing::TestWithParam<kernels_test::Place> {
 protected:
  Tensor tensor(Shape shape, const std::vector<double>& values, DType dtype = DType::bf16) {
    const Tensor t = Tensor::empty(exec, dtype, std::move(shape));
    for (size_t i = 0; i < values.size(); ++i) set_element(t, int64_t(i), values[i]);
    return t;
  }
  // The scale of a row whose largest magnitude is this.
  float scale_of(float amax, ScaleRule rule, AmaxFloor floor) {
    return float(element(
        ops::quantise(exec, tensor({1, 3}, {0, -amax, amax / 2}, DType::f32), kRowTile, rule, floor).scales, 0));
  }
  const kernels_test::ExecAt owned{GetParam(), 2};
  const Exec& exec = owned.exec;
};

std::vector<int> bits_of(const Quantised& q) {
  std::vector<int> bits;
  for (int64_t i = 0; i < q.codes.count(); ++i) bits.push_back(static_cast<const uint8_t*>(q.codes.raw())[i]);
  return bits;
}
std::vector<double> scales_of(const Quantised& q) {
  std::vector<double> scales;
  for (int64_t i = 0; i < q.scales.count(); ++i) scales.push_back(element(q.scales, i));
  return scales;
}

TEST_P(Fp8Vectors, ScalesOfTilesByTheirLargestMagnitude) {
  const auto both = [&](float amax, uint32_t exact, float power, AmaxFloor floor) {
    EXPECT_EQ(std::bit_cast<uint32_t>(scale_of(amax, ScaleRule::exact, floor)), exact) << amax;
    EXPECT_EQ(scale_of(amax, ScaleRule::power_of_two, floor), power) << amax;
  };
  for (const AmaxFloor floor : {AmaxFloor::none, AmaxFloor::released}) {
    both(1, 0x3B124925, 0x1p-8f, floor);
    both(3.5f, 0x3C000000, 0x1p-7f, floor);
    both(7, 0x3C800000, 0x1p-6f, floor);
    both(224, 0x3F000000, 0.5f, floor);
    both(224.1f, 0x3F000EA1, 1, floor);
    both(448, 0x3F800000, 1, floor);
    both(449, 0x3F804925, 2, floor);
  }
  for (const float amax : {0.0f, 1e-30f, 1e-4f}) both(amax, 0x346FACAD, 0x1p-22f, AmaxFloor::released);
  both(0, 0x3F800000, 1, AmaxFloor::none);  // nothing to divide: 1, and no 0 / 0
  both(0x1p-149f, 0x00800000, 0x1p-126f, AmaxFloor::none);
  both(448 * 0x1p-126f, 0x00800000, 0x1p-126f, AmaxFloor::none);
  both(std::numeric_limits<float>::max(), std::bit_cast<uint32_t>(std::numeric_limits<float>::max() / 448), 0x1p120f,
       AmaxFloor::none);
}

// Blocks of MX: the exponent by OCP's rule and rounded up, and the code of the largest element under each.
TEST_P(Fp8Vectors, ScalesOfBlocksOfMx) {
  const auto expect = [&](float amax, int down, float down_value, int up, float up_value) {
    for (const auto& [rule, exponent, value] :
         {std::tuple(ScaleRule::ocp, down, down_value), {ScaleRule::power_of_two, up, up_value}}) {
      const Quantised q = ops::quantise(exec,
                                        tensor(
                                            {1, 33},
                                            [&] {
                                              std::vector<double> row(33, 0.0);
                                              row[5] = -amax, row[32] = 1;
                                              return row;
                                            }(),
                                            DType::f32),
                                        kMxRowTile, rule);
      EXPECT_EQ(q.scales.dtype(), DType::f8_e8m0);
      EXPECT_EQ(element(q.scales, 0), std::exp2(exponent)) << amax;
      EXPECT_EQ(element(q.codes, 5), -value) << amax;
      EXPECT_EQ(element(q.scales, 1), std::exp2(-8));
    }
  };
  expect(1, -8, 256, -8, 256);
  expect(1.75f, -8, 448, -8, 448);
  expect(1.8f, -8, 448, -7, 224);  // 460.8 is clipped; 230.4
  expect(449, 0, 448, 1, 224);
  expect(500, 0, 448, 1, 256);
  expect(512, 1, 256, 1, 256);
  expect(0, 0, 0, 0, 0);
  expect(0x1p-140f, -126, 0x1p-9f * 0, -126, 0);
}

struct Coded {
  std::vector<int> codes;
  std::vector<double> scales;
};
struct Products {
  ScaleRule rule;
  Coded x, w, dy, x_columns, dy_columns;
  std::vector<double> y, dx, dw;  // dx, dw: empty where they are not listed
};

const std::vector<double> kDy = {0.00099945068359375, -2.002716064453125e-5, 2.995133399963379e-6,
                                 0.000400543212890625};

const Products kPowersOfTwo = {ScaleRule::power_of_two,
                               {{0x70, 0x55, 0xFC, 0x68, 0x7C, 0x12, 0x00, 0xD6}, {0x1p-7, 0x1p-1}},
                               {{0x70, 0xE8, 0x6A, 0x78, 0xCA, 0x73, 0x00, 0x5E}, {0x1p-8}},
                               {{0x78, 0xCA, 0x45, 0x7D}, {0x1p-18, 0x1p-20}},
                               {{0x40, 0x7D, 0xFC, 0x60, 0x7C, 0x6A, 0x00, 0xFE}, {0x1p-1, 0x1p-12, 0x1p-7, 0x1p-6}},
                               {{0x78, 0xDA, 0x35, 0x7D}, {0x1p-18, 0x1p-20}},
                               {0.037109375, 0.10498046875, 88.9951171875, -4.502197265625},
                               {0.00048865377903, -0.00025725364685, 0.00030517578125, 0.00097447633743,
                                -6.1988830566e-6, 0.00027197599411, 9.6857547760e-7, 4.6491622925e-5},
                               {0.00157165527344, 9.92426648736e-5, -0.0029296875, 0.00046658515930, 0.0761528015137,
                                5.8114528656e-6, 5.7220458984e-5, -0.00278663635254}};
const Products kExact = {ScaleRule::exact,
                         {{0x71, 0x57, 0xFE, 0x69, 0x7E, 0x13, 0x00, 0xD8}, {0.00669642864, 0.446428567}},
                         {{0x76, 0xEE, 0x70, 0x7E, 0xD1, 0x7A, 0x00, 0x64}, {0.00223214296}},
                         {{0x7E, 0xD1, 0x45, 0x7E}, {2.230916607e-6, 8.940696716e-7}},
                         {{0x41, 0x7E, 0xFE, 0x60, 0x7E, 0x6B, 0x00, 0xFE}, {}},
                         {{0x7E, 0xDB, 0x3B, 0x7E}, {}},
                         {0.08203125746, 0.10403380543, 92.85234833, -4.769461632},
                         {},
                         {}};

void expect_coded(const Quantised& q, const Coded& expected, const char* what) {
  EXPECT_EQ(bits_of(q), expected.codes) << what;
  const std::vector<double> scales = scales_of(q);
  for (size_t i = 0; i < expected.scales.size(); ++i)
    EXPECT_NEAR(scales[i], expected.scales[i], (q.rule == ScaleRule::exact ? 1e-8 : 0) * expected.scales[i]) << what;
}

void expect_near(const Tensor& t, const std::vector<double>& expected, const char* what) {
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(element(t, int64_t(i)), expected[i], 1e-9 * std::abs(expected[i]) + 1e-11) << what << " " << i;
}

TEST_P(Fp8Vectors, TheThreeProductsOfALinear) {
  const Tensor x = tensor({2, 4}, {1, 0.10009765625, -3, 0.5, 200, 0.02001953125, 0, -7});
  const Tensor w = tensor({2, 4}, {0.5, -0.25, 0.30078125, 1, -0.02001953125, 0.69921875, 0, 0.10986328125});
  const Tensor dy = tensor({2, 2}, kDy);
  for (const Products& expected : {kPowersOfTwo, kExact}) {
    const auto codes = [&](const Tensor& t, Tile tile, AmaxFloor floor = AmaxFloor::none) {
      return ops::quantise(exec, t, tile, expected.rule, floor);
    };
    const Quantised x_rows = codes(x, kRowTile), weights = codes(w, kSquareTile, AmaxFloor::released),
                    dy_rows = codes(dy, kRowTile), x_columns = codes(x, kColumnTile),
                    dy_columns = codes(dy, kColumnTile);
    expect_coded(x_rows, expected.x, "x");
    expect_coded(weights, expected.w, "W");
    expect_coded(dy_rows, expected.dy, "dy");
    expect_coded(x_columns, expected.x_columns, "x over tokens");
    expect_coded(dy_columns, expected.dy_columns, "dy over tokens");
    const Tensor y = Tensor::zeros(exec, DType::f32, {2, 2}), dx = Tensor::zeros(exec, DType::f32, {2, 4}),
                 dw = Tensor::zeros(exec, DType::f32, {2, 4});
    ops::linear(exec, y, x_rows, weights);
    ops::linear_backward_input(exec, dx, dy_rows, weights);
    ops::linear_backward_weight(exec, dw, dy_columns, x_columns);
    expect_near(y, expected.y, "y");
    expect_near(dx, expected.dx, "dx");
    expect_near(dw, expected.dw, "dW");
  }
}

TEST_P(Fp8Vectors, AFloorFlushesSmallGradientsAndNoneKeepsTheirCodes) {
  std::vector<double> small = kDy;
  for (double& value : small) value *= 0x1p-30;
  const Tensor dy = tensor({2, 2}, small);
  EXPECT_EQ(bits_of(ops::quantise(exec, dy, kRowTile, ScaleRule::exact, AmaxFloor::released)),
            (std::vector<int>{0x00, 0x80, 0x00, 0x00}));
  EXPECT_EQ(bits_of(ops::quantise(exec, dy, kRowTile)), (std::vector<int>{0x7E, 0xD1, 0x45, 0x7E}));
}

// 2^-6 * 1.125 beside an element that takes the tile's scale k binades up: its last bits leave the format one by one.
TEST_P(Fp8Vectors, CodesMadeAgainUnderALargerPowerOfTwoLoseWhatIsSubnormalThere) {
  const int expected[] = {0x09, 0x04, 0x02, 0x01, 0x01, 0x00};
  for (int k = 0; k < 6; ++k) {
    const Tensor x = tensor({2, 2}, {0x1p-6 * 1.125, 256, std::exp2(8 + k), 0}, DType::f32);
    const Quantised rows = ops::quantise(exec, x, kRowTile, ScaleRule::power_of_two);
    ASSERT_EQ(bits_of(rows)[0], 0x09);
    const Quantised columns = ops::quantise(exec, Activation(rows), kColumnTile, ScaleRule::power_of_two);
    EXPECT_EQ(columns.rule, ScaleRule::power_of_two);
    EXPECT_EQ(element(columns.scales, 0), std::exp2(k));
    EXPECT_EQ(bits_of(columns)[0], expected[k]) << k;
  }
}

TEST_P(Fp8Vectors, CodesWithOtherScalesAreNotMadeAgain) {
  const Tensor x = tensor({2, 2}, {1, 2, 3, 4});
  for (const ScaleRule from : {ScaleRule::exact, ScaleRule::power_of_two}) {
    const Activation codes = ops::quantise(exec, x, kRowTile, from);
    EXPECT_EQ(ops::quantise(exec, codes, kRowTile, from).codes.raw(), codes.quantised().codes.raw());
    EXPECT_ERROR(ops::quantise(exec, codes, kColumnTile, ScaleRule::exact), ErrorKind::internal,
                 "codes in tiles of 1 x 128 are made again in tiles of 128 x 1");
    EXPECT_ERROR(
        ops::quantise(exec, codes, kRowTile, from == ScaleRule::exact ? ScaleRule::power_of_two : ScaleRule::exact),
        ErrorKind::internal, "their scales are not powers of two");
  }
}

// E5M6 in two planes with scales of one byte, and the same tile as E4M3.
TEST_P(Fp8Vectors, E5m6KeepsATileInTwelveBits) {
  if (GetParam().on_device) GTEST_SKIP() << "kept on the CPU alone";
  const Tensor x = tensor({1, 4}, {3, -0.0123291015625, 0.69921875, 150});
  const Quantised wide = ops::quantise_e5m6(exec, x),
                  narrow = ops::quantise(exec, x, kRowTile, ScaleRule::power_of_two);
  EXPECT_EQ(bits_of(wide), (std::vector<int>{0x62, 0xC2, 0x59, 0x78}));  // 620 C25 59A 78B
  const auto* lower = static_cast<const uint8_t*>(wide.lower.raw());
  EXPECT_EQ((std::vector<int>{lower[0], lower[1]}), (std::vector<int>{0x50, 0xBA}));
  EXPECT_EQ(static_cast<const uint8_t*>(wide.scales.raw())[0], 119);  // 2^-8
  const Tensor back = ops::dequantise(exec, wide);
  const double values[] = {3, -0.0123291015625, 0.703125, 150};
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(element(back, i), values[i]);
  EXPECT_EQ(bits_of(narrow), (std::vector<int>{0x4C, 0x8D, 0x3B, 0x79}));
  EXPECT_EQ(element(narrow.scales, 0), 0.5);

  // 3C0, C17, 7BF, 001 under a scale of 1.
  const Tensor planes = tensor({1, 4}, {1, -2.71875, 65024, 0x1p-20}, DType::f32);
  const Quantised codes = ops::quantise_e5m6(exec, planes);
  EXPECT_EQ(bits_of(codes), (std::vector<int>{0x3C, 0xC1, 0x7B, 0x00}));
  const auto* nibbles = static_cast<const uint8_t*>(codes.lower.raw());
  EXPECT_EQ((std::vector<int>{nibbles[0], nibbles[1]}), (std::vector<int>{0x70, 0x1F}));

  // Middles between two codes go to the even one: 1.0078125 to 3C0, 1.0234375 to 3C2; so do subnormal ones.
  const Tensor middles = tensor({1, 5}, {1.0078125, 1.0234375, -1.5 * 0x1p-20, 2.5 * 0x1p-20, 65024}, DType::f32);
  const Tensor back_again = ops::dequantise(exec, ops::quantise_e5m6(exec, middles));
  const double evens[] = {1, 1.03125, -0x1p-19, 0x1p-19, 65024};
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(element(back_again, i), evens[i]);
}

// Odd widths, several tiles, both types of values: within half a step of the format.
TEST_P(Fp8Vectors, E5m6IsWithinHalfAStep) {
  if (GetParam().on_device) GTEST_SKIP() << "kept on the CPU alone";
  for (const DType dtype : {DType::bf16, DType::f32}) {
    std::vector<double> values;
    for (int64_t i = 0; i < 5 * 301; ++i)
      values.push_back(std::exp2(double(i * 7 % 13) - 6) * std::sin(double(i) * 1.7) * (i / 301 == 2 ? 0 : 1));
    const Tensor x = tensor({5, 301}, values, dtype);
    const Quantised codes = ops::quantise_e5m6(exec, x);
    EXPECT_EQ(codes.bytes(), 5 * (301 + 151 + 3));
    EXPECT_EQ(codes.bytes(), Quantised::e5m6_bytes_of({5, 301}));
    const Tensor back = ops::dequantise(exec, codes), part = ops::dequantise(exec, codes.row_range(3, 2));
    EXPECT_EQ(back.dtype(), dtype);
    double largest = 0;
    for (int64_t i = 0; i < x.count(); ++i) {
      const double value = element(x, i);
      EXPECT_LE(std::abs(element(back, i) - value), 0x1p-7 * std::abs(value)) << i;
      if (value != 0) largest = std::max(largest, std::abs(element(back, i) / value - 1));
      if (i >= 3 * 301) {
        EXPECT_EQ(element(part, i - 3 * 301), element(back, i));
      }
    }
    EXPECT_GT(largest, 0x1p-8);
    const Activation again = ops::quantise(exec, Activation(codes), kColumnTile, ScaleRule::power_of_two);
    EXPECT_FALSE(again.quantised().is_e5m6());
    EXPECT_ERROR(ops::linear(exec, Tensor::zeros(exec, DType::f32, {5, 5}), Activation(codes), Activation(codes)),
                 ErrorKind::internal, "E5M6 codes are kept, not multiplied");
  }
}

// The ends of FP32: tiles of 3e38 and of denormals, whose scale is not below 2^-126, in every tiling and by both rules.
TEST_P(Fp8Vectors, TilesAtTheEndsOfFp32) {
  for (const Tile tile : {kRowTile, kColumnTile, kSquareTile}) {
    for (const ScaleRule rule : {ScaleRule::exact, ScaleRule::power_of_two}) {
      const Quantised large = ops::quantise(exec, tensor({1, 2}, {3e38, -1e38}, DType::f32), tile, rule),
                      small = ops::quantise(exec, tensor({1, 2}, {1e-40, -1e-37}, DType::f32), tile, rule);
      for (const Quantised* q : {&large, &small}) {
        const double wanted[] = {q == &large ? 3e38 : 1e-40, q == &large ? -1e38 : -1e-37};
        const double step = q == &large ? 0 : 0x1p-126 * 0x1p-10;  // half the least code's
        const Tensor back = ops::dequantise(exec, *q);
        for (int64_t i = 0; i < 2; ++i)
          EXPECT_NEAR(element(back, i), wanted[i], std::max(0.0626 * std::abs(wanted[i]), step)) << i;
      }
      EXPECT_GE(element(small.scales, 0), 0x1p-126);
      EXPECT_TRUE(std::isfinite(element(large.scales, 0)));
    }
  }
}

TEST_P(Fp8Vectors, ZerosNotANumberAndInfinityWithoutAFloor) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const Tensor x = tensor({4, 3}, {0, -0.0, 0, nan, 2, 0, nan, 0, 0, 1, inf, -inf});
  const Quantised q = ops::quantise(exec, x, kRowTile);
  const std::vector<int> bits = bits_of(q);
  EXPECT_EQ(std::vector<int>(bits.begin(), bits.begin() + 3), (std::vector<int>{0x00, 0x80, 0x00}));
  EXPECT_EQ(bits[3] & 0x7f, 0x7f);
  EXPECT_EQ(bits[4], 0x7e);
  EXPECT_EQ(bits[6] & 0x7f, 0x7f);  // in a tile that is zero beside it
  EXPECT_EQ(element(q.scales, 2), 1.0);
  EXPECT_EQ(bits[9], 0x00);
  EXPECT_EQ(bits[10] & 0x7f, 0x7f);
  EXPECT_EQ(bits[11] & 0x7f, 0x7f);
}

INSTANTIATE_TEST_SUITE_P(Places, Fp8Vectors, ::testing::ValuesIn(kernels_test::places()), [](const auto& info) {
  return info.param.on_device ? std::string("device") : info.param.name();
});

}  // namespace
}  // namespace hadal
