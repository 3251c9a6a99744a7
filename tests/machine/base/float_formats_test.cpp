// Host float formats: every code survives the way to float and back; rounding is to nearest even; overflow as stated.
#include "base/float_formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

TEST(FloatFormats, KnownValues) {
  EXPECT_EQ(float(e4m3(0.3f)), 0.3125f);
  EXPECT_EQ(f16(1.0f).bits, 0x3c00);
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(e4m3(1.0f).bits, 0x38);
}

}  // namespace
}  // namespace hadal
