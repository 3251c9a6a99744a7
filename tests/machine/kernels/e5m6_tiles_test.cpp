// E5M6 codes and their values of every instruction set are those of the formula, bit by bit; and those that a search of
// all codes finds.
#include "kernels/e5m6_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/float_formats.h"
#include "base/random.h"
#include "kernels/places_fixture.h"

namespace hadal::kernels {
namespace {

template <class T>
struct Coded {
  std::vector<uint8_t> upper, lower, scales;
  std::vector<T> back;
};

template <class T>
Coded<T> coded(Isa isa, std::vector<T> values, int64_t rows, int64_t cols) {
  const kernels_test::ExecAt at({isa}, 2);
  const int64_t pairs = (cols + 1) / 2, tiles = (cols + kE5m6Tile - 1) / kE5m6Tile;
  Coded<T> r{std::vector<uint8_t>(size_t(rows * cols)), std::vector<uint8_t>(size_t(rows * pairs)),
             std::vector<uint8_t>(size_t(rows * tiles)), std::vector<T>(values.size())};
  E5m6Tiles args{.values = {values.data(), cols, dtype_of<T>()},
                 .upper = r.upper.data(),
                 .lower = r.lower.data(),
                 .scales = r.scales.data(),
                 .upper_stride = cols,
                 .lower_stride = pairs,
                 .scales_stride = tiles,
                 .rows = rows,
                 .cols = cols,
                 .lane = at.exec.compute};
  e5m6_encode(at.twin(), args);
  args.values.data = r.back.data();
  e5m6_decode(at.twin(), args);
  return r;
}

// Rows of many magnitudes, of zeros, below FP32's normal numbers, with a NaN, with an infinity.
template <class T>
void expect_the_formula(int64_t cols) {
  constexpr int64_t kRows = 13;
  std::vector<T> values;
  for (int64_t i = 0; i < kRows * cols; ++i) {
    const int64_t row = i / cols;
    const double size = row == 1 ? 0 : row == 2 ? 1e-40 : std::exp2(double(random_below(5, 1, uint64_t(i), 40)) - 30);
    values.push_back(T(float(size * random_normal(3, 2, uint64_t(i)))));
  }
  values[size_t(3 * cols + cols / 2)] = T(std::numeric_limits<float>::quiet_NaN());
  values[size_t(4 * cols)] = T(std::numeric_limits<float>::infinity());
  const auto formula = coded(Isa::reference, values, kRows, cols);
  for (const Isa isa : available_isas()) {
    const auto fast = coded(isa, values, kRows, cols);
    EXPECT_EQ(fast.upper, formula.upper) << isa_name(isa) << " " << cols;
    EXPECT_EQ(fast.lower, formula.lower) << isa_name(isa) << " " << cols;
    EXPECT_EQ(fast.scales, formula.scales) << isa_name(isa) << " " << cols;
    for (size_t i = 0; i < formula.back.size(); ++i) {
      if (std::isnan(float(formula.back[i]))) {
        ASSERT_TRUE(std::isnan(float(fast.back[i]))) << isa_name(isa) << " " << i;
      } else {
        ASSERT_EQ(std::memcmp(&fast.back[i], &formula.back[i], sizeof(T)), 0) << isa_name(isa) << " " << i;
      }
    }
  }
}

TEST(E5m6Tiles, AreTheFormulasOnEveryInstructionSet) {
  for (const int64_t cols : {1, 7, 16, 127, 128, 200, 333}) {
    expect_the_formula<float>(cols);
    expect_the_formula<bf16>(cols);
  }
}

// ---- against a search that knows the values of codes alone, in double precision, which holds all of this exactly ----

// Of 0 ... 0x7bf, ascending: m 2^-20 below 2^-14, else (1 + m / 64) 2^(e - 15).
std::vector<double> values_of_codes() {
  std::vector<double> values;
  for (int code = 0; code <= 0x7bf; ++code) {
    const int e = code >> 6, m = code & 63;
    values.push_back(e == 0 ? std::ldexp(m, -20) : std::ldexp(64 + m, e - 21));
  }
  return values;
}

// The nearest value; of two as near the one whose code is even.
int nearest_code(const std::vector<double>& values, double x) {
  const double magnitude = std::abs(x);
  const auto above = std::lower_bound(values.begin(), values.end(), magnitude);  // the first that is not less
  int code = int(std::min(above - values.begin(), std::ptrdiff_t(values.size()) - 1));
  if (code > 0) {
    const double up = std::abs(values[size_t(code)] - magnitude), down = magnitude - values[size_t(code - 1)];
    if (down < up || (down == up && code % 2 == 1)) --code;
  }
  return code + (std::signbit(x) ? 0x800 : 0);
}

// The least power of two, not below 2^-126, by which the largest of the tile fits under the largest code.
int exponent_of_scale(double amax) {
  if (amax == 0) return 0;
  int exponent = -126;
  while (std::ldexp(65024.0, exponent) < amax) ++exponent;
  return exponent;
}

template <class T>
void expect_nearest_codes(const std::vector<float>& numbers) {
  const std::vector<double> values = values_of_codes();
  const std::vector<T> x(numbers.begin(), numbers.end());
  const int64_t rows = int64_t(x.size()) / kE5m6Tile;
  std::vector<int> exponents, codes;
  for (size_t i = 0; i < x.size(); i += kE5m6Tile) {
    double amax = 0;
    for (size_t k = i; k < i + kE5m6Tile; ++k) amax = std::max(amax, std::abs(double(float(x[k]))));
    exponents.push_back(exponent_of_scale(amax));
    for (size_t k = i; k < i + kE5m6Tile; ++k)
      codes.push_back(nearest_code(values, std::ldexp(double(float(x[k])), -exponents.back())));
  }
  for (const Isa isa : available_isas()) {
    const auto ours = coded(isa, x, rows, kE5m6Tile);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(int(ours.scales[i / kE5m6Tile]) - 127, exponents[i / kE5m6Tile]) << isa_name(isa) << " " << i;
      const int code = ours.upper[i] << 4 | (ours.lower[i / 2] >> (i % 2 == 0 ? 0 : 4) & 15);
      ASSERT_EQ(code, codes[i]) << isa_name(isa) << " " << float(x[i]) << " * 2^" << -exponents[i / kE5m6Tile];
    }
  }
}

// Those whose magnitude is at most the largest code's, in tiles of scale 1: rows that begin with it.
std::vector<float> in_tiles_of_scale_one(const std::vector<float>& numbers) {
  std::vector<float> tiles;
  for (const float number : numbers) {
    if (!(std::fabs(number) <= kLargestE5m6)) continue;
    if (tiles.size() % kE5m6Tile == 0) tiles.push_back(kLargestE5m6);
    tiles.push_back(number);
  }
  while (tiles.size() % kE5m6Tile != 0) tiles.push_back(0);
  return tiles;
}

TEST(E5m6Tiles, EveryBf16NumberAndEveryBorderOfCodesHasTheNearestCode) {
  std::vector<float> bf16_numbers, in_binades, borders;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float number = std::bit_cast<float>(bits << 16);
    bf16_numbers.push_back(number);
    // Tiles of 16 binades with 8 of their fractions each, of either sign; 0 in place of what is not finite.
    const uint32_t tile = bits / 128, in_tile = bits % 128;
    const uint32_t sign = tile / 256, exponent = tile / 16 % 16 * 16 + in_tile / 8,
                   fraction = tile % 16 * 8 + in_tile % 8;
    in_binades.push_back(exponent == 255 ? 0.0f : std::bit_cast<float>(sign << 31 | exponent << 23 | fraction << 16));
  }
  const std::vector<double> values = values_of_codes();
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle = float((values[i] + values[i + 1]) / 2);
    for (const float number : {float(values[i]), middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)})
      borders.insert(borders.end(), {number, -number});
  }
  expect_nearest_codes<bf16>(in_tiles_of_scale_one(bf16_numbers));
  expect_nearest_codes<float>(in_tiles_of_scale_one(bf16_numbers));
  expect_nearest_codes<float>(in_tiles_of_scale_one(borders));
  expect_nearest_codes<bf16>(in_binades);
  expect_nearest_codes<float>(in_binades);
}

}  // namespace
}  // namespace hadal::kernels
