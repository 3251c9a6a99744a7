// What Hopper's tensor cores compute, to the bit, in plain C++. One instruction makes of an accumulator c in FP32 and
// two rows of k operands
//   d = c + a_0 b_0 + a_1 b_1 + ...
// - Each product is exact; its exponent is the sum of its operands' (a significand of a product may be 2 and more). A
//   subnormal has its format's smallest exponent, a zero has -126, and counts: it may cut off what is far below it.
// - Products and c are aligned to the largest of these exponents and cut off towards zero `aligned_bits` below it.
// - They are summed exactly, so their order does not matter; the sum is cut off towards zero to `result_bits` behind
//   its leading one (fewer below FP32's smallest exponent); a sum of zero is +0, one of 2^128 and more infinite.
// - Infinities and NaNs are IEEE's; every NaN that comes out is 0x7fffffff.
// Source: Xie et al., "MMA-Sim" (arXiv 2511.10909), which found these rules on an H100: BF16 and FP16 have 25 aligned
// bits and 16 products in wgmma and mma.sync alike; FP8 in wgmma has 13, 32 products, and a result of 13 bits.
// Functions are static and use nothing of std: kernels compiled for an instruction set share no symbol with others.
#pragma once
#include <cstdint>

namespace hadal::kernels::tensor_core {

// Formats of operands: bits, bits behind the leading one, the exponent's bias, products of one instruction.
struct Bf16 {
  using Bits = uint16_t;
  static constexpr int kFraction = 7, kExponent = 8, kBias = 127, kDepth = 16, kAligned = 25, kResult = 23;
};
struct Fp16 {
  using Bits = uint16_t;
  static constexpr int kFraction = 10, kExponent = 5, kBias = 15, kDepth = 16, kAligned = 25, kResult = 23;
};
struct E4m3 {  // by wgmma; no infinities, the largest code is NaN
  using Bits = uint8_t;
  static constexpr int kFraction = 3, kExponent = 4, kBias = 7, kDepth = 32, kAligned = 13, kResult = 13;
};

inline constexpr int kExponentOfZero = -126;
inline constexpr uint32_t kNan = 0x7fffffff;

// A row of operands taken apart: x = (sign ? -1 : 1) * magnitude * 2^(exponent - kFraction).
template <class Format>
struct Row {
  static constexpr int kDepth = Format::kDepth;
  int32_t magnitude[kDepth], exponent[kDepth];
  int32_t sign[kDepth];  // 0 or -1
  int32_t largest;       // of the exponents
  bool finite, zero;     // all of them
};

static constexpr int larger(int a, int b) { return a < b ? b : a; }

template <class Format>
static constexpr bool is_special(int exponent_field, int fraction) {
  if (exponent_field != (1 << Format::kExponent) - 1) return false;
  return sizeof(typename Format::Bits) == 2 || fraction == (1 << Format::kFraction) - 1;
}

// Of kDepth elements that lie `step` apart.
template <class Format>
static void take_apart(Row<Format>& row, const typename Format::Bits* x, int64_t step) {
  constexpr int kFields = (1 << Format::kExponent) - 1;
  row.finite = row.zero = true;
  row.largest = -1000;
  for (int k = 0; k < Format::kDepth; ++k) {
    const int bits = x[k * step], field = bits >> Format::kFraction & kFields;
    const int fraction = bits & ((1 << Format::kFraction) - 1);
    const bool zero = field == 0 && fraction == 0;
    row.sign[k] = -(bits >> (Format::kFraction + Format::kExponent) & 1);
    row.magnitude[k] = field == 0 ? fraction : fraction | 1 << Format::kFraction;
    row.exponent[k] = zero ? kExponentOfZero : larger(field, 1) - Format::kBias;
    row.largest = larger(row.largest, row.exponent[k]);
    row.zero &= zero;
    row.finite &= !is_special<Format>(field, fraction);
  }
}

// sum * 2^unit, cut off towards zero to `bits` behind the leading one, as FP32.
static inline float cut_off(int64_t sum, int unit, int bits) {
  if (sum == 0) return 0.0f;
  const uint64_t magnitude = uint64_t(sum < 0 ? -sum : sum);
  const int exponent = larger(63 - __builtin_clzll(magnitude) + unit, -126);
  const int last = exponent - bits, drop = last - unit;  // 2^last: what is kept is a multiple of it
  const uint64_t kept = drop <= 0 ? magnitude : drop < 64 ? magnitude >> drop : 0;
  const double scale = __builtin_bit_cast(double, uint64_t((drop <= 0 ? unit : last) + 1023) << 52);
  const float value = float(double(kept) * scale);  // exact, or infinite
  return sum < 0 && kept != 0 ? -value : value;
}

// IEEE's infinities and NaNs among the operands.
template <class Format>
static double value_of(const Row<Format>& row, int k) {
  constexpr int kTop = (1 << Format::kExponent) - 1 - Format::kBias;
  constexpr int kOne = 1 << Format::kFraction;
  const double sign = row.sign[k] ? -1.0 : 1.0;
  if (row.exponent[k] == kTop && is_special<Format>((1 << Format::kExponent) - 1, row.magnitude[k] & (kOne - 1))) {
    const bool infinite = sizeof(typename Format::Bits) == 2 && row.magnitude[k] == kOne;
    return infinite ? sign * __builtin_bit_cast(double, uint64_t(0x7ff) << 52)
                    : __builtin_bit_cast(double, uint64_t(0x7ff8) << 48);
  }
  return row.magnitude[k] == 0 ? sign * 0.0 : sign;  // its size does not matter beside an infinity
}
template <class Format>
static float special_sum(float c, const Row<Format>& a, const Row<Format>& b) {
  const uint32_t c_bits = __builtin_bit_cast(uint32_t, c);
  double sum = (c_bits & 0x7f800000u) == 0x7f800000u ? double(c) : 0.0;
  for (int k = 0; k < Format::kDepth; ++k) sum += value_of(a, k) * value_of(b, k);
  return sum == sum ? float(sum) : __builtin_bit_cast(float, kNan);
}

// One element of one instruction.
template <class Format>
static float multiply_add(float c, const Row<Format>& a, const Row<Format>& b) {
  const uint32_t c_bits = __builtin_bit_cast(uint32_t, c);
  const int c_field = int(c_bits >> 23 & 0xff), c_exponent = larger(c_field, 1) - 127;
  if (!a.finite || !b.finite || c_field == 0xff) return special_sum(c, a, b);
  const int64_t c_magnitude = (c_bits & 0x7fffff) | (c_field == 0 ? 0 : 0x800000);
  if (a.zero || b.zero) {  // the most frequent of all sums, and quickly known: rows and columns outside of matrices
    const int above = (a.zero ? b.largest : a.largest) + kExponentOfZero - c_exponent;
    if (c_magnitude == 0) return 0.0f;
    if (above <= Format::kAligned - 23 && Format::kResult == 23) return c;
  }
  int largest = c_exponent;
  for (int k = 0; k < Format::kDepth; ++k) largest = larger(largest, a.exponent[k] + b.exponent[k]);
  constexpr int kUp = Format::kAligned - 2 * Format::kFraction;
  static_assert(kUp >= 0 && Format::kAligned >= 13);
  int32_t products = 0;  // 16 of BF16 stay below 2^31: the largest is 255 * 255 * 2^11
  for (int k = 0; k < Format::kDepth; ++k) {
    const uint32_t magnitude = uint32_t(a.magnitude[k] * b.magnitude[k]) << kUp;
    const int below = largest - a.exponent[k] - b.exponent[k], down = below < 31 ? below : 31;
    const int32_t sign = a.sign[k] ^ b.sign[k];
    products += (int32_t(magnitude >> down) ^ sign) - sign;
  }
  constexpr int kDownC = 23 - Format::kAligned;
  const int down = largest - c_exponent + larger(kDownC, 0);
  const int64_t aligned = down > 62 ? 0 : c_magnitude << larger(-kDownC, 0) >> down;
  return cut_off(products + (c_bits >> 31 ? -aligned : aligned), largest - Format::kAligned, Format::kResult);
}

}  // namespace hadal::kernels::tensor_core
