// What quantisers do with codes and bits. Each instruction set's header gives
//   magnitudes, larger, largest_bits   of a vector's 32 or 16 bits as whole numbers, whose order is that of magnitudes
//                                      and puts NaN above infinity; the result as the bits of a float
//   next_power                         of normal numbers the next power of two
//   store_finite_e4m3, _e5m6           codes of numbers that are no NaN and round to no more than the largest code; of
//                                      e4m3 with the signs of others, since a corrected quotient of -0 is +0
//   load_e5m6                          codes as floats, exactly
// and this one how a quotient is made whose code is that of x / s.
#pragma once
#if defined(HADAL_ISA_avx2)
#include "kernels/cpu/codes_avx2.h"
#else
#include "kernels/cpu/codes_avx512.h"
#endif
#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {

constexpr int32_t kInfinityBits = 0x7f800000;

// The same of single numbers.
HADAL_INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}
HADAL_INLINE float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
HADAL_INLINE float next_power(float x) { return float_of((bits_of(x) + 0x7fffffu) & 0xff800000u); }
HADAL_INLINE uint32_t bits_of_e8m0(uint32_t scale) {
  return scale == 0xffu ? 0x7fc00000u : scale == 0 ? 0x400000u : scale << 23;
}

template <class T>
constexpr int64_t kPerVector = kW * 4 / int64_t(sizeof(T));

// Folds the magnitudes of [0, n).
template <class T>
HADAL_INLINE I fold_largest(I most, const T* x, int64_t n) {
  int64_t c = 0;
  for (; c + kPerVector<T> <= n; c += kPerVector<T>) most = larger(most, magnitudes(load_bytes(x + c), T()), T());
  if (c == n) return most;
  T rest[kPerVector<T>] = {};
  __builtin_memcpy(rest, x + c, size_t(n - c) * sizeof(T));
  return larger(most, magnitudes(load_bytes(rest), T()), T());
}

// How x / s is made from r = 1 / s. Where s is a power of two that is x r. A bf16's quotient x r, corrected once by its
// remainder, has the code of x / s for every x and every s that a bf16 gives (tests/machine/kernels/fp8_tiles_test.cpp
// tries them), while remainders are normal numbers; a float's is divided.
enum class Quotient { product, corrected, divided };
template <Quotient kHow>
HADAL_INLINE V quotient(V x, V s, V r) {
  if constexpr (kHow == Quotient::divided) return div(x, s);
  const V q = mul(x, r);
  if constexpr (kHow == Quotient::product) return q;
  return fma(nfma(q, s, x), r, q);
}

}  // namespace hadal::kernels::HADAL_ISA
