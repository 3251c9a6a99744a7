// Loops over a row in vectors: whole ones, then one partial. The pattern of lanes depends on the length of the row
// alone.
#pragma once
#include "kernels/array.h"
#include "kernels/cpu/simd.h"

namespace hadal::kernels::HADAL_ISA {

struct Full {};  // all kW lanes
template <class T>
HADAL_INLINE V load_lanes(const T* p, Full) {
  return load(p);
}
template <class T>
HADAL_INLINE V load_lanes(const T* p, int64_t n) {
  return load_n(p, n);
}
template <class T>
HADAL_INLINE void store_lanes(T* p, V a, Full) {
  store(p, a);
}
template <class T>
HADAL_INLINE void store_lanes(T* p, V a, int64_t n) {
  store_n(p, a, n);
}
// The same, but bf16 as the host rounds it, subnormals too, on every instruction set.
HADAL_INLINE void store_exact(float* p, V a, Full) { store(p, a); }
HADAL_INLINE void store_exact(float* p, V a, int64_t n) { store_n(p, a, n); }
HADAL_INLINE void store_exact(bf16* p, V a, Full) {
  const auto narrowed = narrow_exact(a);
  __builtin_memcpy(p, &narrowed, sizeof(narrowed));
}
HADAL_INLINE void store_exact(bf16* p, V a, int64_t n) {
  const auto narrowed = narrow_exact(a);
  __builtin_memcpy(p, &narrowed, size_t(n) * sizeof(bf16));
}
HADAL_INLINE void store_exact(f16* p, V a, Full) { store(p, a); }
HADAL_INLINE void store_exact(f16* p, V a, int64_t n) { store_n(p, a, n); }
HADAL_INLINE V keep_lanes(V a, V, Full) { return a; }  // lanes beyond the row := other
HADAL_INLINE V keep_lanes(V a, V other, int64_t n) { return select(first_n(n), a, other); }

// f(c, lanes) for every vector of [0, count).
template <class F>
HADAL_INLINE void each_vector(int64_t count, F f) {
  int64_t c = 0;
  for (; c + kW <= count; c += kW) f(c, Full{});
  if (c < count) f(c, count - c);
}

// Folds [0, count): a = step(a, c, lanes), over four independent accumulators that join(a, b) merges at the end.
template <class Step, class Join>
HADAL_INLINE V fold_vectors(int64_t count, V start, Step step, Join join) {
  V a0 = start, a1 = start, a2 = start, a3 = start;
  int64_t c = 0;
  for (; c + 4 * kW <= count; c += 4 * kW) {
    a0 = step(a0, c, Full{});
    a1 = step(a1, c + kW, Full{});
    a2 = step(a2, c + 2 * kW, Full{});
    a3 = step(a3, c + 3 * kW, Full{});
  }
  for (; c + kW <= count; c += kW) a0 = step(a0, c, Full{});
  if (c < count) a1 = step(a1, c, count - c);
  return join(join(a0, a1), join(a2, a3));
}
template <class Step>
HADAL_INLINE float sum_vectors(int64_t count, Step step) {
  return reduce_add(fold_vectors(count, zero(), step, [](V a, V b) { return add(a, b); }));
}

}  // namespace hadal::kernels::HADAL_ISA
