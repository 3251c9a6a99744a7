#include "kernels/rope.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class X, bool kInverse>
void rotate_rows(const Rope& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const float* table = static_cast<const float*>(k.table) + k.positions[r] * k.table_stride;
    each_vector(k.d_rope, [&](int64_t c, auto n) {
      const V angles = load_lanes(table + c, n), cosine = even_twice(angles), sine = odd_twice(angles);
      for (int64_t head = 0; head < k.n_heads; ++head) {
        X* x = k.x.row<X>(r) + head * k.head_stride + c;
        const V pair = load_lanes(x, n), crossed = mul(swap_pairs(pair), sine);
        store_lanes(x, kInverse ? fma_add_sub(pair, cosine, crossed) : fma_sub_add(pair, cosine, crossed), n);
      }
    });
  }
}

}  // namespace

void rope(const Rope& k) {
  visit_small(
      [&](auto x) {
        using X = element<decltype(x)>;
        parallel_blocks(k.lane, k.rows, rows_per_task(k.n_heads * k.d_rope), [&](int64_t begin, int64_t end) {
          if (k.inverse)
            rotate_rows<X, true>(k, begin, end);
          else
            rotate_rows<X, false>(k, begin, end);
        });
      },
      k.x.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
