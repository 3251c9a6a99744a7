#include "kernels/integer_rows.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class T>
HADAL_INLINE void round_group(const T* x, int64_t count, IntegerGroup& to) {
  constexpr int64_t kParts = kIntegerGroup / kW;
  V part[kParts];
  V largest = zero(), probe = zero();  // a NaN or an infinity times zero is a NaN
#pragma GCC unroll 4
  for (int64_t i = 0; i < kParts; ++i) {
    const int64_t left = count - i * kW;
    part[i] = left >= kW ? load(x + i * kW) : load_n(x + i * kW, left > 0 ? left : 0);
    largest = max(abs(part[i]), largest);
    probe = fma(part[i], zero(), probe);
  }
  const float bad = reduce_add(probe);
  to.scale = bad != bad ? __builtin_nanf("") : reduce_max(largest) / 127.0f;
  const bool any_code = to.scale > 0;
  const V scale = broadcast(any_code ? to.scale : 1.0f);
  V sum = zero();  // of whole numbers, exact
#pragma GCC unroll 4
  for (int64_t i = 0; i < kParts; ++i) {
    const V q = any_code ? round(div(part[i], scale)) : zero();
    sum = add(sum, q);
    store_int8(to.q + i * kW, q);
  }
  to.sum = int32_t(reduce_add(sum));
}

template <class T>
void round_rows(const IntegerRows& k) {
  const int64_t groups = integer_groups(k.cols);
  parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* x = k.x.row<T>(r);
      for (int64_t g = 0; g < groups; ++g, x += kIntegerGroup) {
        const int64_t left = k.cols - g * kIntegerGroup;
        round_group(x, left < kIntegerGroup ? left : kIntegerGroup, k.to[r * groups + g]);
      }
    }
  });
}

}  // namespace

void integer_rows(const IntegerRows& k) {
  visit_with<bf16>([&](auto type) { round_rows<element<decltype(type)>>(k); }, k.x.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
