// Small kernels, each of which does one thing of the layer (kernels/cuda/hopper/asynchronous.h) and brings home what
// came of it, on the device that is linked, emulated or not: so what the emulator takes for true is asked of a GPU too.
#pragma once
#include <cstdint>
#include <vector>

namespace hadal::staged {

// What lies in shared memory after the box that begins at (col, row) of a matrix was copied.
struct BoxProbe {
  int64_t cols, rows, matrices, row_stride, matrix_stride;
  int col, row, matrix;
};
std::vector<uint16_t> copied_box(const std::vector<uint16_t>& matrices, const BoxProbe& probe);

// Sums [64, 128] of 64 k: sums + A B, in BF16. A is a box [64, 64], B two of them; by k: their rows are those of A, or
// columns of B, else they are the k's.
struct ProductProbe {
  bool a_by_k, b_by_k;
  bool by_threads = false;  // who brings the operands to shared memory
  bool in_two = false;  // products of the first and of the second 32 k into sums of their own, waited for one by one
};
std::vector<float> multiplied(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b,
                              const std::vector<float>& sums, const ProductProbe& probe);

// Numbers handed from one warp to another over phases of two barriers: sums of what each lane was told.
std::vector<int64_t> handed_over(int phases);

}  // namespace hadal::staged
