// The contiguous stretches of a tensor that may have gaps between its rows. For the files of this room: a tensor is
// named by its type's parameter, since tensor.cpp is one of them.
#pragma once
#include <cstdint>

#include "base/dtype.h"

namespace hadal {

// f(first element of a row, bytes of it); one long row where they are contiguous.
template <class AnyTensor, class F>
void each_stretch(const AnyTensor& tensor, F f) {
  const int64_t each = dtype_bytes(tensor.dtype());
  if (tensor.contiguous()) return f(int64_t(0), tensor.count() * each);
  for (int64_t row = 0; row < tensor.rows(); ++row) f(row * tensor.row_stride(), tensor.cols() * each);
}

template <class AnyTensor>
char* place_in(const AnyTensor& tensor, int64_t element) {
  return static_cast<char*>(tensor.raw()) + element * dtype_bytes(tensor.dtype());
}

}  // namespace hadal
