// How operands and results of the tensor cores lie: what both implementations of asynchronous.h, kernels and tests
// share.
#pragma once
#include <cstdint>

#include "kernels/cuda/hopper/launch.h"

namespace hadal::kernels::cuda {

// Shared memory of 128-byte rows, swizzled: of a byte's address, aligned to 1024, bits 4 to 6 are turned by bits 7 to
// 9.
__host__ __device__ constexpr uint32_t swizzled(uint32_t address) { return address ^ (address >> 3 & 0x70u); }

// Which dimension of an operand is contiguous in its 128-byte rows: k, or its rows of C (A) or columns of C (B).
enum class Major { k, mn };

// A matrix in shared memory as wgmma finds it, in bytes. With rows along k, `stride` leads to the next 8 rows; along m
// or n it leads to the next 8 k, `leading` to the next 64 elements. The swizzle must be that of the copy.
struct OperandPlace {
  uint32_t address;  // in shared memory
  uint32_t leading, stride;
  bool swizzled_128 = true;
};
__host__ __device__ constexpr uint64_t descriptor(const OperandPlace& at) {
  return uint64_t((at.address & 0x3ffffu) >> 4) | uint64_t((at.leading & 0x3ffffu) >> 4) << 16 |
         uint64_t((at.stride & 0x3ffffu) >> 4) << 32 | uint64_t(at.swizzled_128) << 62;
}

// wgmma here: 64 x 128 elements of C from 16 k, by the 128 threads of a warpgroup, 64 elements each.
inline constexpr int kProductRows = 64, kProductCols = 128, kProductDepth = 16, kWarpgroup = 128;
inline constexpr int kOwnElements = kProductRows * kProductCols / kWarpgroup;

// Row and column of element i of thread t of a warpgroup.
__host__ __device__ constexpr int product_row(int t, int i) { return t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8; }
__host__ __device__ constexpr int product_col(int t, int i) { return i / 4 * 8 + t % 4 * 2 + i % 2; }

}  // namespace hadal::kernels::cuda
