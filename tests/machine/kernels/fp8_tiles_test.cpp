// FP8 codes of every instruction set, and of the emulated device, are those of the formula, bit by bit; what the
// formula itself must give is tested in tensor/quantised_test.cpp.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/float_formats.h"
#include "base/random.h"
#include "kernels/fp8_tiles_fixture.h"

namespace hadal::kernels {
namespace {

using kernels_test::Coded, kernels_test::Sizes, kernels_test::encoded;

const Sizes kSizes[] = {{1, 3, 1000, 1, 128}, {2, 131, 200, 128, 128}, {1, 200, 77, 128, 1},
                        {3, 5, 70, 2, 5},     {1, 3, 100, 1, 32},      {2, 70, 33, 32, 1}};

template <class T>
void expect_the_formula() {
  for (const Sizes& s : kSizes) {
    std::vector<T> values;
    for (int64_t i = 0; i < s.matrices * s.rows * s.cols; ++i) {
      const double size = std::exp2(double(random_below(5, 1, uint64_t(i), 24)) - 18);
      // The first tiles lie below the smallest amax, the last row of tiles is zeros, or so small that its scale is.
      const int64_t band = i / s.cols / s.tile_rows, last = (s.rows - 1) / s.tile_rows;
      const double tiny = band == 0 ? 1e-9 : band != last ? 1 : i % 2 ? 0 : 1e-40;
      values.push_back(T(float(tiny * size * random_normal(3, 2, uint64_t(i)))));
    }
    for (const auto& [power_of_two, floor, ocp] : {std::tuple(false, 0.0f, false),
                                                   {true, 0.0f, false},
                                                   {false, 1e-4f, false},
                                                   {true, 1e-4f, false},
                                                   {true, 0.0f, true},
                                                   {true, 1e-4f, true}}) {
      const auto formula = encoded(kernels_test::Place{}, s, values, power_of_two, floor, ocp);
      for (const kernels_test::Place& place : kernels_test::places()) {
        const auto coded = encoded(place, s, values, power_of_two, floor, ocp);
        EXPECT_EQ(coded.codes, formula.codes) << place.name() << " tiles " << s.tile_rows << "x" << s.tile_cols;
        EXPECT_EQ(coded.scales, formula.scales) << place.name() << " tiles " << s.tile_rows << "x" << s.tile_cols;
      }
    }
  }
}

TEST(Fp8Tiles, AreTheFormulasOnEveryInstructionSet) {
  expect_the_formula<float>();
  expect_the_formula<bf16>();
}

// Rows of 128 values, one of them 448 so that the scale is 1: every code is e4m3 of its value. All bf16 numbers up to
// 448, and those of the float numbers beside them.
TEST(Fp8Tiles, RoundEveryNumberAsTheHostDoes) {
  std::vector<float> values;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    for (int32_t step : {-1, 0, 1}) {
      const float value = std::bit_cast<float>((bits << 16) + uint32_t(step));
      if (!(std::fabs(value) <= 448.0f) && !std::isnan(value)) continue;
      if (values.size() % 128 == 0) values.push_back(448.0f);
      values.push_back(value);
    }
  }
  while (values.size() % 128 != 0) values.push_back(0);
  for (const kernels_test::Place& place : kernels_test::places()) {
    const auto coded = encoded(place, {1, int64_t(values.size()) / 128, 128, 1, 128}, values, false);
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(coded.codes[i], e4m3::round(values[i])) << place.name() << " " << values[i];
  }
}

// Of every scale that a bf16 gives, the codes of every bf16 in the 19 binades below: where quotients are made without a
// division they must have its codes.
TEST(Fp8Tiles, EveryQuotientOfBf16HasTheCodeOfTheDivision) {
  constexpr int kBinades = 19;
  std::vector<bf16> values;
  for (int most = 0; most < 128; ++most) {
    const float amax = 1 + float(most) / 128;
    for (int i = 0; i < 128 * kBinades; ++i) {
      if (values.size() % 128 == 0) values.emplace_back(amax);
      const float value = std::ldexp(1 + float(i % 128) / 128, -(i / 128));
      values.emplace_back(value > amax ? value / 2 : value);
    }
    while (values.size() % 128 != 0) values.emplace_back(0.0f);
  }
  const Sizes sizes{1, int64_t(values.size()) / 128, 128, 1, 128};
  const auto formula = encoded(kernels_test::Place{}, sizes, values, false);
  for (const Isa isa : available_isas()) {  // devices divide
    const kernels_test::Place place{isa};
    const auto coded = encoded(place, sizes, values, false);
    EXPECT_EQ(coded.codes == formula.codes, true) << place.name();
    EXPECT_EQ(coded.scales == formula.scales, true) << place.name();
  }
}

TEST(Fp8Tiles, ATileOfZerosHasScaleOne) {
  for (const kernels_test::Place& place : kernels_test::places()) {
    for (const Sizes& s : kSizes) {
      const auto coded = encoded(place, s, std::vector<float>(size_t(s.matrices * s.rows * s.cols)), false);
      for (const float scale : coded.scales) ASSERT_EQ(scale, 1.0f) << place.name();
      for (const uint8_t code : coded.codes) ASSERT_EQ(code, 0) << place.name();
    }
  }
}

template <class T>
void expect_every_code_decoded(T (*expected)(float code, float scale)) {
  std::vector<uint8_t> codes(256 * 3);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = uint8_t(i % 256);
  std::vector<float> scales = {1.0f, 0.0123f, 3.1e-39f};  // the last makes subnormal values
  for (const kernels_test::Place& place : kernels_test::places()) {
    if (sizeof(T) == 8 && !place.has_f64()) continue;
    const kernels_test::ExecAt at(place, 2);
    std::vector<T> values(codes.size());
    fp8_decode(at.twin(), {.values = {values.data(), 256, dtype_of<T>()},
                           .codes = codes.data(),
                           .scales = scales.data(),
                           .codes_stride = 256,
                           .scales_stride = 1,
                           .rows = 3,
                           .cols = 256,
                           .tile_rows = 1,
                           .tile_cols = 256,
                           .lane = at.exec.compute});
    for (size_t i = 0; i < codes.size(); ++i) {
      e4m3 code;
      code.bits = codes[i];
      const T want = expected(float(code), scales[i / 256]);
      if (std::isnan(float(code))) {
        ASSERT_TRUE(std::isnan(double(float(values[i]))));
      } else {
        ASSERT_EQ(std::memcmp(&values[i], &want, sizeof(T)), 0) << place.name() << " code " << i % 256;
      }
    }
  }
}

TEST(Fp8Tiles, DecodeEveryCodeWithOneRounding) {
  expect_every_code_decoded<float>([](float code, float scale) { return code * scale; });
  expect_every_code_decoded<bf16>([](float code, float scale) { return bf16(code * scale); });
  expect_every_code_decoded<double>([](float code, float scale) { return double(code) * double(scale); });
}

}  // namespace
}  // namespace hadal::kernels
