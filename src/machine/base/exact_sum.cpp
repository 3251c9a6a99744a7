#include "base/exact_sum.h"

#include <cmath>
#include <cstring>

namespace hadal {

void ExactSum::add(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  const int exponent = int(bits >> 52 & 0x7ff);
  if (exponent == 0x7ff) {
    not_finite_ += x;
    return;
  }
  // x = mantissa * 2^(shift - 1074); a subnormal has exponent 0 and no hidden bit.
  const uint64_t mantissa = (bits & ((uint64_t(1) << 52) - 1)) | (exponent > 0 ? uint64_t(1) << 52 : 0);
  const int shift = exponent > 0 ? exponent - 1 : 0, limb = shift / 32;
  const unsigned __int128 wide = static_cast<unsigned __int128>(mantissa) << (shift % 32);
  const int64_t low = int64_t(uint32_t(wide)), middle = int64_t(uint32_t(wide >> 32)), high = int64_t(wide >> 64);
  const int64_t sign = bits >> 63 ? -1 : 1;
  limbs_[size_t(limb)] += sign * low;
  limbs_[size_t(limb) + 1] += sign * middle;
  limbs_[size_t(limb) + 2] += sign * high;
}

void ExactSum::merge(const ExactSum& other) {
  for (size_t i = 0; i < limbs_.size(); ++i) limbs_[i] += other.limbs_[i];
  not_finite_ += other.not_finite_;
}

double ExactSum::value() const {
  if (!std::isfinite(not_finite_) || not_finite_ != 0) return not_finite_;
  std::array<int64_t, kLimbs> digits = limbs_;  // carried: all but the last become 0 .. 2^32 - 1
  for (size_t i = 0; i + 1 < digits.size(); ++i) {
    const int64_t carry = digits[i] >> 32;  // floor
    digits[i] -= carry * (int64_t(1) << 32);
    digits[i + 1] += carry;
  }
  if (digits.back() < 0) {  // value = -(value of the negated sum)
    ExactSum negated;
    for (size_t i = 0; i < limbs_.size(); ++i) negated.limbs_[i] = -limbs_[i];
    return -negated.value();
  }
  int top = kLimbs - 1;
  while (top > 0 && digits[size_t(top)] == 0) --top;
  // The three leading limbs hold at least 65 bits; a sticky bit stands for what is below, so the one rounding is right.
  unsigned __int128 head = 0;
  const int last = top >= 2 ? top - 2 : 0;
  for (int i = top; i >= last; --i) head = head << 32 | uint64_t(digits[size_t(i)]);
  bool sticky = false;
  for (int i = 0; i < last; ++i) sticky = sticky || digits[size_t(i)] != 0;
  int drop = 0;  // to 64 bits, which long arithmetic below rounds to 53
  while (head >> 64 >> drop) ++drop;
  uint64_t kept = uint64_t(head >> drop);
  sticky = sticky || (head & ((static_cast<unsigned __int128>(1) << drop) - 1)) != 0;
  if (sticky && drop + 32 * last > 0) kept |= 1;
  return std::ldexp(double(kept), 32 * last + drop - 1074);
}

}  // namespace hadal
