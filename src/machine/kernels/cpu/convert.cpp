// What training and loading convert in bulk; every other pair of formats is left to the formula.
#include "kernels/convert.h"

#include "kernels/cpu/vectors.h"

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

}  // namespace

void convert(const Convert& k) {
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
