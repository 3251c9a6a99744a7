// What one wgmma of BF16 does, with the bits of the tensor core (kernels/tensor_core.h): operands are found in shared
// memory through their descriptors.
#pragma once
#include <cstdint>

#include "cuda_emulator/asynchronous.h"
#include "kernels/cuda/hopper/tile_layout.h"

namespace hadal::emulator {

// The sums of a warpgroup, by threads.
struct ProductSums {
  float own[kernels::cuda::kWarpgroup][kernels::cuda::kOwnElements];
};

void run_product(const ProductIssue& what, const uint8_t* shared, int64_t bytes, ProductSums& sums);

// A tensor map as the emulated device makes it (tensor_map.cpp).
struct CopiedMatrices {
  const uint8_t* base;
  int64_t cols, rows, matrices;
  int64_t row_bytes, matrix_bytes;
};
CopiedMatrices copied_matrices(const kernels::cuda::TensorMap& map);

}  // namespace hadal::emulator
