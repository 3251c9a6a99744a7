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

}  // namespace hadal::kernels::reference
