// Host float formats: every code survives the way to float and back; rounding is to nearest even; overflow as stated.
#include "base/float_formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/bf16.h"

namespace hadal {
namespace {

template <class T>
float value_of(unsigned bits) {
  T x;
  x.bits = decltype(x.bits)(bits);
  return float(x);
}

template <class T>
void every_code_survives(unsigned n_codes) {
  for (unsigned bits = 0; bits < n_codes; ++bits) {
    const float value = value_of<T>(bits);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float(T(value))));
    } else {
      ASSERT_EQ(T(value).bits, bits) << value;
    }
  }
}

// Between neighbours: below the middle goes down, above goes up, the middle goes to the even code.
template <class T>
void rounds_to_nearest_even(unsigned first, unsigned last) {
  for (unsigned bits = first; bits < last; ++bits) {
    const float low = value_of<T>(bits), high = value_of<T>(bits + 1), middle = low / 2 + high / 2;
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(T(middle).bits, even) << bits;
    ASSERT_EQ(T(std::nextafter(middle, low)).bits, bits);
    ASSERT_EQ(T(std::nextafter(middle, high)).bits, bits + 1);
    ASSERT_EQ(T(-middle).bits & ~(1u << (8 * sizeof(T) - 1)), even);
  }
}

TEST(FloatFormats, EveryCodeSurvives) {
  every_code_survives<bf16>(65536);
  every_code_survives<f16>(65536);
  every_code_survives<e4m3>(256);
}

TEST(FloatFormats, RoundToNearestEven) {
  rounds_to_nearest_even<f16>(0, 0x7bff);
  rounds_to_nearest_even<e4m3>(0, 0x7e);
  rounds_to_nearest_even<bf16>(0x0080, 0x7f7f);
}

TEST(FloatFormats, OverflowAsStated) {
  EXPECT_EQ(f16(65519.f).bits, 0x7bff);
  EXPECT_EQ(f16(65520.f).bits, 0x7c00);
  EXPECT_EQ(f16(-1e9f).bits, 0xfc00);
  EXPECT_EQ(float(e4m3(1e9f)), 448.f);
  EXPECT_EQ(float(e4m3(-500.f)), -448.f);
  EXPECT_EQ(float(e4m3(std::numeric_limits<float>::infinity())), 448.f);
  EXPECT_TRUE(std::isnan(float(e4m3(std::nanf("")))));
  EXPECT_TRUE(std::isinf(float(bf16(3.4e38f))));
}

TEST(FloatFormats, ScalesRoundUpToPowersOfTwo) {
  for (unsigned bits = 0; bits < 255; ++bits) {
    const float value = value_of<e8m0>(bits);
    ASSERT_EQ(value, std::ldexp(1.0f, int(bits) - 127));
    ASSERT_EQ(e8m0(value).bits, bits);
    if (bits < 254) {
      ASSERT_EQ(e8m0(std::nextafter(value, 1e38f)).bits, bits + 1) << value;
    }
  }
  EXPECT_EQ(e8m0(0.0f).bits, 0);
  EXPECT_EQ(e8m0(-0.0f).bits, 0);
  for (float none : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity(), 3e38f}) {
    EXPECT_EQ(e8m0(none).bits, 0xff) << none;
  }
  EXPECT_TRUE(std::isnan(value_of<e8m0>(0xff)));
}

TEST(FloatFormats, KnownValuesOfE4m3) {
  const std::pair<float, int> known[] = {{0.1f, 0x1D},
                                         {0.3f, 0x2A},
                                         {1.0f / 3, 0x2B},
                                         {1.0625f, 0x38},
                                         {1.1875f, 0x3A},
                                         {17, 0x58},
                                         {19, 0x5A},
                                         {255, 0x78},
                                         {264, 0x78},
                                         {272, 0x78},
                                         {416, 0x7D},
                                         {432, 0x7E},
                                         {464, 0x7E},
                                         {464.1f, 0x7E},
                                         {500, 0x7E},
                                         {std::numeric_limits<float>::infinity(), 0x7E},
                                         {-0.0f, 0x80},
                                         {0x1p-6f, 0x08},
                                         {0.0146484375f, 0x08},
                                         {0x1p-7f, 0x04},
                                         {0x1p-10f, 0x00},
                                         {0.00097656259765625f, 0x01},
                                         {1.5f * 0x1p-9f, 0x02},
                                         {2.5f * 0x1p-9f, 0x02},
                                         {-2.71828f, 0xC3},
                                         {std::numeric_limits<float>::quiet_NaN(), 0x7F}};
  for (const auto& [value, code] : known) EXPECT_EQ(int(e4m3(value).bits), code) << value;
  EXPECT_EQ(float(e4m3(-2.71828f)), -2.75f);
  EXPECT_EQ(float(e4m3(0.1f)), 0.1015625f);
}

TEST(FloatFormats, KnownValuesOfE5m6) {
  const std::pair<float, int> known[] = {{1, 0x3C0},
                                         {-1, 0xBC0},
                                         {0.1f, 0x2E6},
                                         {0.3f, 0x34D},
                                         {1.0f / 3, 0x355},
                                         {1.0078125f, 0x3C0},
                                         {1.0234375f, 0x3C2},
                                         {3.14159274f, 0x425},
                                         {-2.71828f, 0xC17},
                                         {255, 0x5C0},
                                         {1000, 0x63D},
                                         {12345, 0x720},
                                         {65280, 0x7BF},
                                         {1e6f, 0x7BF},
                                         {std::numeric_limits<float>::infinity(), 0x7BF},
                                         {0x1p-14f, 0x040},
                                         {0x1p-14f - 0x1p-20f, 0x03F},
                                         {0x1p-20f, 0x001},
                                         {0x1p-21f, 0x000},
                                         {1.001f * 0x1p-21f, 0x001},
                                         {1.5f * 0x1p-20f, 0x002},
                                         {2.5f * 0x1p-20f, 0x002},
                                         {0.02f, 0x252}};
  for (const auto& [value, code] : known) EXPECT_EQ(int(e5m6(value).bits), code) << value;
  EXPECT_TRUE(std::isnan(float(e5m6(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(float(e5m6(0.3f)), 0.30078125f);
  EXPECT_EQ(float(e5m6(1e9f)), 65024.0f);
}

// The nearest of all codes, found by looking at each of them; of two as near the one whose last bit is 0. All codes,
// all midpoints between two, and the numbers beside these.
TEST(FloatFormats, E5m6IsTheNearestCode) {
  std::vector<double> values;
  for (unsigned bits = 0; bits <= 0x7bf; ++bits) values.push_back(value_of<e5m6>(bits));
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    ASSERT_LT(values[i], values[i + 1]);
    const float middle = float((values[i] + values[i + 1]) / 2);
    EXPECT_EQ(int(e5m6::round(float(values[i]))), int(i));
    EXPECT_EQ(int(e5m6::round(middle)), int(i % 2 == 0 ? i : i + 1)) << middle;
    EXPECT_EQ(int(e5m6::round(std::nextafter(middle, 0.0f))), int(i)) << middle;
    EXPECT_EQ(int(e5m6::round(-std::nextafter(middle, 1e9f))), int(0x800 + i + 1)) << middle;
  }
}

TEST(FloatFormats, KnownValues) {
  EXPECT_EQ(float(e4m3(0.3f)), 0.3125f);
  EXPECT_EQ(f16(1.0f).bits, 0x3c00);
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(e4m3(1.0f).bits, 0x38);
}

}  // namespace
}  // namespace hadal
