// Scalars of the reference kernels: f64 computes in double, f32, bf16 and f16 in float.
#pragma once
#include <type_traits>

#include "base/float_formats.h"
#include "kernels/array.h"

namespace hadal::kernels::reference {

template <class T>
using accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
accumulator<T> get(T value) {
  return static_cast<accumulator<T>>(value);
}

// Calls f(r) for every row, in parallel.
template <class F>
void each_row(Lane* lane, int64_t rows, int64_t cols, F&& f) {
  parallel_blocks(lane, rows, rows_per_task(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

}  // namespace hadal::kernels::reference
