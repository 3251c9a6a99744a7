// What tensor copies read: a stack of matrices of 16-bit numbers in device memory, described once by the host, and
// given to a kernel as `const __grid_constant__ TensorMap`. A copy takes a box of 64 x 64 elements out of one matrix, 8
// KiB, to shared memory: its rows are 128 bytes there, swizzled (tile_layout.h); elements outside of the matrix are
// zeros. Two implementations: tensor_map.cu, which asks the driver, and the emulated device.
#pragma once
#include <cstdint>

#include "base/error.h"

namespace hadal::kernels::cuda {

inline constexpr int kBox = 64;  // rows and columns
inline constexpr int kBoxBytes = kBox * kBox * 2;

struct MatrixStack {
  const void* base = nullptr;
  int64_t cols = 0, rows = 0, matrices = 1;
  int64_t row_stride = 0, matrix_stride = 0;  // in elements; the second says nothing of one matrix
};

// Opaque, and as long and aligned as the driver's.
struct alignas(128) TensorMap {
  uint64_t words[16];
};

// The smallest step in which a tensor copy addresses memory, of a base and of strides.
inline constexpr int64_t kCopyBytes = 16;
inline bool fits_copies(const void* base, int64_t stride) {
  return reinterpret_cast<uintptr_t>(base) % kCopyBytes == 0 && stride > 0 && stride * 2 % kCopyBytes == 0 &&
         stride < int64_t(1) << 38;
}
inline void check_tensor_map(const MatrixStack& m) {
  check(
      m.cols > 0 && m.rows > 0 && m.matrices > 0 && m.cols < INT32_MAX && m.rows < INT32_MAX && m.matrices < INT32_MAX,
      ErrorKind::invalid, "tensor map: {} matrices of [{}, {}], expected 1 to 2^31 - 2 of each", m.matrices, m.rows,
      m.cols);
  check(fits_copies(m.base, m.row_stride) && (m.matrices == 1 || fits_copies(m.base, m.matrix_stride)),
        ErrorKind::invalid,
        "tensor map: base {}, rows {} and matrices {} elements apart; expected multiples of 16 bytes", m.base,
        m.row_stride, m.matrix_stride);
}

TensorMap tensor_map(const MatrixStack& matrices);

}  // namespace hadal::kernels::cuda
