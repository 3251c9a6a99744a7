// What training and loading convert in bulk; every other pair of formats is left to the formula.
#include "kernels/convert.h"

#include "kernels/cpu/codes.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class X, class Y>
void convert_rows(const Convert& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const X* x = k.x.row<X>(r);
    Y* y = k.y.row<Y>(r);
    each_vector(k.cols, [&](int64_t c, auto n) { store_exact(y + c, load_lanes(x + c, n), n); });
  }
}

// Scales, as e8m0 rounds them, without a branch for the compiler's vectors.
HADAL_INLINE uint8_t e8m0_of(uint32_t bits) {
  const uint32_t up = (bits >> 23) + ((bits & 0x7fffffu) != 0 ? 1u : 0u), small = bits <= 0x400000u ? 0u : up;
  return uint8_t(bits == 0x80000000u ? 0u : bits > 0x7f000000u ? 0xffu : small);
}

void narrow_scales(const Convert& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    const uint32_t* x = k.x.row<uint32_t>(r);
    uint8_t* y = k.y.row<uint8_t>(r);
    for (int64_t c = 0; c < k.cols; ++c) y[c] = e8m0_of(x[c]);
  });
}

void widen_scales(const Convert& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    const uint8_t* x = k.x.row<uint8_t>(r);
    uint32_t* y = k.y.row<uint32_t>(r);
    for (int64_t c = 0; c < k.cols; ++c) y[c] = bits_of_e8m0(x[c]);
  });
}

}  // namespace

void convert(const Convert& k) {
  if (k.x.dtype == DType::f32 && k.y.dtype == DType::f8_e8m0) return narrow_scales(k);
  if (k.x.dtype == DType::f8_e8m0 && k.y.dtype == DType::f32) return widen_scales(k);
  const bool narrows = k.x.dtype == DType::f32 && is_half(k.y.dtype),
             widens = is_half(k.x.dtype) && k.y.dtype == DType::f32;
  if (!narrows && !widens) return reference::convert(k);
  visit_small(
      [&](auto x, auto y) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          convert_rows<element<decltype(x)>, element<decltype(y)>>(k, begin, end);
        });
      },
      k.x.dtype, k.y.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
