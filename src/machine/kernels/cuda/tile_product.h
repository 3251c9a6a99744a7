// A tile of a product on CUDA cores: a block makes 64 x 64 elements of C, 4 x 4 per thread, from panels of 16 k in
// shared memory. Every element is one chain of fused multiply-adds, k ascending, from where its sum stands.
#pragma once
#include "kernels/cuda/hopper/launch.h"
#include "kernels/cuda/numbers.h"

namespace hadal::kernels::cuda {

inline constexpr int kTile = 64, kStep = 16, kPart = 4, kAcross = kTile / kPart;
static_assert(kAcross * kAcross == kBlock);

// The one struct in shared memory. Rows and columns outside C hold anything, and make sums that nobody stores.
struct Panels {
  float a[kStep][kTile + kPart], b[kStep][kTile + kPart];
};

__host__ __device__ inline int64_t tiles_of(int64_t m, int64_t n) {
  return (m + kTile - 1) / kTile * ((n + kTile - 1) / kTile);
}
// First row and column of the number-th tile, and of this thread's part of it.
struct TilePlace {
  int64_t row, col;
};
__device__ inline TilePlace tile_place(int64_t number, int64_t n) {
  const int64_t across = (n + kTile - 1) / kTile;
  return {number / across * kTile, number % across * kTile};
}
__device__ inline int own_row() { return thread_index() / kAcross * kPart; }
__device__ inline int own_col() { return thread_index() % kAcross * kPart; }

__device__ inline void multiply(const Panels& panels, int depth, float (&sum)[kPart][kPart]) {
  const int row = own_row(), col = own_col();
  for (int k = 0; k < depth; ++k) {
    float a[kPart], b[kPart];
    HADAL_UNROLL
    for (int i = 0; i < kPart; ++i) a[i] = panels.a[k][row + i], b[i] = panels.b[k][col + i];
    HADAL_UNROLL
    for (int i = 0; i < kPart; ++i) {
      HADAL_UNROLL
      for (int j = 0; j < kPart; ++j) sum[i][j] = fused(a[i], b[j], sum[i][j]);
    }
  }
}

// f(i, j) for the 4 x 4 elements of a thread.
template <class F>
__device__ void each_part(F f) {
  HADAL_UNROLL
  for (int i = 0; i < kPart; ++i) {
    HADAL_UNROLL
    for (int j = 0; j < kPart; ++j) f(i, j);
  }
}

// f(i, j, place in C) for those of them that C [m, n] has; rows of C lie c_row apart.
struct Extent {
  int64_t m, n, c_row;
};
template <class F>
__device__ void each_own(const Extent& c, const TilePlace& tile, F f) {
  const int64_t row = tile.row + own_row(), col = tile.col + own_col();
  each_part([&](int i, int j) {
    if (row + i < c.m && col + j < c.n) f(i, j, (row + i) * c.c_row + col + j);
  });
}

// C as a product takes and leaves it: F32, or BF16.
__device__ inline float value_in(const void* c, int64_t place, bool is_bf16) {
  return is_bf16 ? value_of(static_cast<const bf16*>(c)[place]) : static_cast<const float*>(c)[place];
}
__device__ inline void put_in(void* c, int64_t place, bool is_bf16, float value) {
  if (is_bf16) {
    put(static_cast<bf16*>(c) + place, value);
  } else {
    static_cast<float*>(c)[place] = value;
  }
}

}  // namespace hadal::kernels::cuda
