// The tensor core's arithmetic: sums worked out by hand, and a slow second telling of the rules on random and
// adversarial operands.
#include "kernels/tensor_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/bf16.h"
#include "base/float_formats.h"

namespace hadal::kernels::tensor_core {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }

template <class Format>
double widen(typename Format::Bits x) {
  const int field = x >> Format::kFraction & ((1 << Format::kExponent) - 1);
  const int fraction = x & ((1 << Format::kFraction) - 1);
  const double sign = x >> (Format::kFraction + Format::kExponent) ? -1.0 : 1.0;
  if (is_special<Format>(field, fraction))
    return sizeof x == 2 && fraction == 0 ? sign * double(kInfinity) : std::nan("");
  const double significand = fraction + (field == 0 ? 0 : 1 << Format::kFraction);
  return sign * std::ldexp(significand, std::max(field, 1) - Format::kBias - Format::kFraction);
}

// The same rules told in real numbers: std::ilogb for exponents, std::trunc for cutting off, sums of 128 bits.
int exponent_of(double x, int smallest) { return x == 0 ? kExponentOfZero : std::max(std::ilogb(x), smallest); }

template <class Format>
float slowly(float c, const std::vector<typename Format::Bits>& a, const std::vector<typename Format::Bits>& b) {
  constexpr int kSmallest = 1 - Format::kBias;
  double plain = c;
  int largest = exponent_of(c, -126);
  for (size_t k = 0; k < a.size(); ++k) {
    const double x = widen<Format>(a[k]), y = widen<Format>(b[k]);
    plain += x * y;
    if (std::isfinite(x) && std::isfinite(y))
      largest = std::max(largest, exponent_of(x, kSmallest) + exponent_of(y, kSmallest));
  }
  if (std::isnan(plain)) return std::bit_cast<float>(kNan);
  if (std::isinf(plain)) return float(plain);
  const int unit = largest - Format::kAligned;
  auto sum = __int128(std::trunc(std::ldexp(double(c), -unit)));
  for (size_t k = 0; k < a.size(); ++k)
    sum += __int128(std::trunc(std::ldexp(widen<Format>(a[k]) * widen<Format>(b[k]), -unit)));
  const double whole = std::ldexp(double(sum), unit);  // fewer than 53 bits
  if (whole == 0) return 0.0f;
  const int last = std::max(std::ilogb(whole), -126) - Format::kResult;
  return float(std::ldexp(std::trunc(std::ldexp(whole, -last)), last)) + 0.0f;
}

template <class Format>
float quickly(float c, const std::vector<typename Format::Bits>& a, const std::vector<typename Format::Bits>& b) {
  Row<Format> row, column;
  take_apart(row, a.data(), 1);
  take_apart(column, b.data(), 1);
  return multiply_add(c, row, column);
}

// c + the products of these pairs; the others are zeros.
float sum_of(float c, std::initializer_list<std::pair<float, float>> pairs) {
  std::vector<uint16_t> a(16), b(16);
  size_t k = 0;
  for (const auto& [x, y] : pairs) a[k] = bf16(x).bits, b[k++] = bf16(y).bits;
  const float sum = quickly<Bf16>(c, a, b);
  EXPECT_EQ(bits_of(sum), bits_of(slowly<Bf16>(c, a, b)));
  return sum;
}

TEST(TensorCore, AddsExactlyWhereNothingIsCutOff) {
  EXPECT_EQ(sum_of(0, {}), 0.0f);
  EXPECT_EQ(sum_of(1.5f, {{2, 3}, {-0.5f, 4}}), 5.5f);
  EXPECT_EQ(sum_of(0x1p24f - 1, {{1, 1}}), 0x1p24f);
  EXPECT_EQ(sum_of(-3, {{1.5f, 2}}), 0.0f);
  EXPECT_FALSE(std::signbit(sum_of(-0.0f, {})));  // a sum of zero has no sign
  EXPECT_FALSE(std::signbit(sum_of(-0.0f, {{-1, 0}})));
}

TEST(TensorCore, CutsOffProductsTwentyFiveBitsBelowTheLargest) {
  EXPECT_EQ(sum_of(0, {{1, 1}, {0x1p-23f, 1}}), 1 + 0x1p-23f);
  // Four times 2^-25 are one unit of the result and stay; four times 2^-26, cut off one by one, are nothing.
  EXPECT_EQ(sum_of(0, {{1, 1}, {0x1p-25f, 1}, {0x1p-25f, 1}, {0x1p-25f, 1}, {0x1p-25f, 1}}), 1 + 0x1p-23f);
  EXPECT_EQ(sum_of(0, {{1, 1}, {0x1p-26f, 1}, {0x1p-26f, 1}, {0x1p-26f, 1}, {0x1p-26f, 1}}), 1.0f);
  EXPECT_EQ(sum_of(1, {{0x1p-24f, 1.5f}}), 1.0f);  // IEEE would round it up
  EXPECT_EQ(sum_of(1, {{-0x1p-25f, 1}}), 1 - 0x1p-24f);
  EXPECT_EQ(sum_of(1, {{-0x1p-26f, 1}}), 1.0f);  // towards zero, whatever the sign
  EXPECT_EQ(sum_of(-1, {{0x1p-26f, 1}}), -1.0f);
  // The largest exponent is that of the operands, 1.5 * 1.5 = 2.25 counts as 2^0.
  EXPECT_EQ(sum_of(0, {{1.5f, 1.5f}, {-1.5f, 1.5f}, {0x1p-25f, 1}}), 0x1p-25f);
  EXPECT_EQ(sum_of(0, {{2, 1}, {-2, 1}, {0x1p-25f, 1}}), 0.0f);
}

TEST(TensorCore, CancelsWithWhatIsLeftOfTheAccumulator) {
  EXPECT_EQ(sum_of(1 + 0x1p-23f, {{-1, 1}}), 0x1p-23f);
  EXPECT_EQ(sum_of(1 + 0x1p-23f, {{4, 1}, {-4, 1}}), 1 + 0x1p-23f);
  EXPECT_EQ(sum_of(1 + 0x1p-23f, {{8, 1}, {-8, 1}}), 1.0f);
  EXPECT_EQ(sum_of(1, {{0x1p60f, 0x1p60f}, {-0x1p60f, 0x1p60f}}), 0.0f);
}

TEST(TensorCore, KeepsSubnormalsAndCountsTheExponentsOfZeros) {
  EXPECT_EQ(sum_of(0, {{0x1p-100f, 0x1p-49f}}), 0x1p-149f);
  EXPECT_EQ(sum_of(0, {{0x1p-100f, 0x1.8p-49f}}), 0x1p-149f);
  EXPECT_EQ(sum_of(0x1p-149f, {{0x1p-130f, 1}}), 0x1p-130f + 0x1p-149f);
  EXPECT_EQ(sum_of(0, {{0x1p-133f, 0x1p127f}}), 0x1p-6f);
  EXPECT_EQ(sum_of(0x1p-30f, {{0, 0x1p127f}}), 0.0f);  // 2^(-126 + 127), 25 bits above
  EXPECT_EQ(sum_of(0x1p-24f, {{0, 0x1p127f}}), 0x1p-24f);
}

TEST(TensorCore, CarriesInfinitiesAndOneNan) {
  EXPECT_EQ(sum_of(kInfinity, {{1, 1}}), kInfinity);
  EXPECT_EQ(sum_of(1, {{kInfinity, -2}}), -kInfinity);
  EXPECT_EQ(sum_of(0, {{0x1p127f, 0x1p127f}}), kInfinity);
  EXPECT_EQ(sum_of(0, {{0x1p127f, 1}, {0x1p127f, 1}}), kInfinity);
  EXPECT_EQ(sum_of(0, {{0x1p127f, 1}, {0x1.fep126f, 1}, {0x1p118f, 1.9921875f}}), 0x1.ffffp127f);
  EXPECT_EQ(bits_of(sum_of(kInfinity, {{-kInfinity, 1}})), kNan);
  EXPECT_EQ(bits_of(sum_of(0, {{kInfinity, 0}})), kNan);
  EXPECT_EQ(bits_of(sum_of(-NAN, {})), kNan);
  EXPECT_EQ(bits_of(sum_of(kInfinity, {{NAN, 1}})), kNan);
}

// Random rows of four kinds: any bits at all; exponents near one; far apart; pairs that cancel, beside small ones.
template <class Format>
struct Vectors {
  using Bits = typename Format::Bits;
  static constexpr int kTopField = (1 << Format::kExponent) - 1, kBits = 1 + Format::kExponent + Format::kFraction;
  uint64_t state;
  std::vector<Bits> a = std::vector<Bits>(Format::kDepth), b = a;
  float c = 0;

  uint64_t random() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * 0x2545F4914F6CDD1Dull >> 16;
  }
  Bits number(int lowest, int spread) {
    const int field = std::clamp(lowest + int(random() % uint64_t(spread)), 0, kTopField - 1);
    return Bits(random() % 2 << (kBits - 1) | uint64_t(field) << Format::kFraction |
                random() % (uint64_t(1) << Format::kFraction));
  }
  void draw(int kind) {
    const int middle = Format::kBias, near = std::min(4, middle);
    for (size_t k = 0; k < a.size(); ++k) {
      if (kind == 0) a[k] = Bits(random()), b[k] = Bits(random());
      if (kind == 1) a[k] = number(middle - near, 2 * near), b[k] = number(middle - near, 2 * near);
      if (kind == 2) a[k] = number(0, kTopField), b[k] = number(kTopField / 2 - near, 2 * near);
      if (kind == 3) {
        a[k] = number(middle, near), b[k] = number(k % 4 == 3 ? 0 : middle, near);
        if (k % 4 == 1) a[k] = Bits(a[k - 1] ^ Bits(1u << (kBits - 1))), b[k] = b[k - 1];
      }
      if (random() % 16 == 0) a[k] = 0;
    }
    const uint32_t bits = uint32_t(random());
    const uint32_t field = kind == 0 ? bits >> 23 & 0xff : uint32_t(107 + random() % 30);
    c = random() % 8 == 0 ? 0 : std::bit_cast<float>((bits & 0x807fffffu) | field << 23);
    if (kind == 3) c = -slowly<Format>(0, a, b) + (random() % 2 ? 0 : std::ldexp(float(random() % 64), -20));
  }
};

template <class Format>
void compare_many(int count, bool turned) {
  Vectors<Format> v{.state = 88172645463325252ull};
  int special = 0;
  for (int i = 0; i < count; ++i) {
    v.draw(i % 4);
    const float sum = quickly<Format>(v.c, v.a, v.b);
    ASSERT_EQ(bits_of(sum), bits_of(slowly<Format>(v.c, v.a, v.b))) << "vector " << i;
    special += !std::isfinite(sum);
    if (!turned) continue;  // the order inside an instruction does not matter
    auto a = v.a, b = v.b;
    std::reverse(a.begin(), a.end()), std::reverse(b.begin(), b.end());
    ASSERT_EQ(bits_of(quickly<Format>(v.c, a, b)), bits_of(sum)) << "vector " << i;
  }
  EXPECT_GT(special, count / 100);
}

TEST(TensorCore, AgreesWithASlowTellingOfTheRulesOnRandomAndAdversarialVectors) {
  compare_many<Bf16>(200000, true);
  compare_many<Fp16>(100000, true);
  compare_many<E4m3>(100000, true);
}

// What fits into 24 bits has the bits of ordinary sums.
TEST(TensorCore, EqualsOrdinarySumsOfSmallIntegers) {
  Vectors<Bf16> v{.state = 7};
  for (int i = 0; i < 20000; ++i) {
    float plain = float(int(v.random() % 2001) - 1000);
    v.c = plain;
    for (size_t k = 0; k < 16; ++k) {
      const auto x = float(int(v.random() % 257) - 128), y = float(int(v.random() % 257) - 128);
      v.a[k] = bf16(x).bits, v.b[k] = bf16(y).bits;
      plain += x * y;
    }
    ASSERT_EQ(quickly<Bf16>(v.c, v.a, v.b), plain);
  }
}

// A sum of 4096 equal products inside the accumulator of FP8 stops growing: 13 bits behind the leading one.
TEST(TensorCore, KeepsThirteenBitsOfFp8) {
  const std::vector<uint8_t> ones(32, 0x38);
  EXPECT_EQ(quickly<E4m3>(0, ones, ones), 32.0f);
  EXPECT_EQ(quickly<E4m3>(8192, ones, ones), 8224.0f);
  EXPECT_EQ(quickly<E4m3>(16384, ones, ones), 16384.0f);  // each product is half of the last bit
  std::vector<uint8_t> one(32, 0);
  one[5] = 0x38;
  EXPECT_EQ(quickly<E4m3>(8192, one, ones), 8193.0f);
}

// FP8: c and products, the others being zeros.
float sum_of_codes(float c, float a, float b, float a2 = 0, float b2 = 0, float a3 = 0, float b3 = 0) {
  std::vector<uint8_t> left(32, 0), right(32, 0);
  left[3] = e4m3::round(a), right[3] = e4m3::round(b);
  left[17] = e4m3::round(a2), right[17] = e4m3::round(b2);
  left[30] = e4m3::round(a3), right[30] = e4m3::round(b3);
  const float sum = quickly<E4m3>(c, left, right);
  EXPECT_EQ(sum, slowly<E4m3>(c, left, right));
  return sum;
}
// One product of ones, or none, and 31 others.
float sum_beside(float c, float one, float a, float b) {
  std::vector<uint8_t> left(32, e4m3::round(a)), right(32, e4m3::round(b));
  left[0] = right[0] = e4m3::round(one);
  return quickly<E4m3>(c, left, right);
}

TEST(TensorCore, StepsOfFp8ByHand) {
  EXPECT_EQ(sum_of_codes(0, 448, 448, 0x1p-6f, 1), 200704.0f);
  EXPECT_EQ(sum_of_codes(0, 448, 448, 16, 1), 200720.0f);
  EXPECT_EQ(sum_of_codes(0, 448, 448, 32, 1, -1, 1), 200736.0f);  // -1 is cut off
  EXPECT_EQ(sum_beside(0, 1, 0x1p-7f, 0x1p-7f), 1.0f);
  EXPECT_EQ(sum_beside(0, 1, 0x1p-7f, 0x1p-6f), 1.0037841796875f);
  EXPECT_EQ(sum_beside(1, 0, 0x1p-7f, 0x1p-7f), 1.0f);
  EXPECT_EQ(sum_of_codes(16383.9f, 0, 0), 16383.0f);  // towards zero
  EXPECT_EQ(sum_of_codes(-16383.9f, 0, 0), -16383.0f);
}

}  // namespace
}  // namespace hadal::kernels::tensor_core
