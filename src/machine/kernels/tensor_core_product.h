// The body of tensor_core_gemm (scaled_gemm.h), compiled for the formula and for every instruction set: blocks of C,
// their operands taken apart a chunk at a time. Nothing of it but integers, exact numbers and sums in FP64 of exact
// products that are rounded once: no instruction set has other bits.
#pragma once
#include "base/bf16.h"
#include "kernels/array.h"
#include "kernels/scaled_gemm.h"
#include "kernels/tensor_core.h"

namespace hadal::kernels::tensor_core {

inline constexpr int64_t kProductBlock = 16;  // rows and columns of C
inline constexpr int64_t kMostSteps = kGemmChunk / E4m3::kDepth;

// A chunk of the rows of A, or columns of B, in a block.
struct Operands {
  Row<E4m3> steps[kProductBlock][kMostSteps];
  float scales[kProductBlock] = {};
};

struct ProductSums {
  float c[kProductBlock][kProductBlock], accumulator[kProductBlock][kProductBlock];
};

static inline void take_chunk(const ScaledOperand& from, Operands& to, int64_t first, int64_t count, int64_t k,
                              int64_t depth, int64_t chunk) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* codes = from.codes + (first + i) * from.row + k * from.col;
    for (int64_t begin = 0; begin < depth; begin += E4m3::kDepth) {
      uint8_t step[E4m3::kDepth] = {};
      for (int64_t j = begin; j < depth && j < begin + E4m3::kDepth; ++j) step[j - begin] = codes[j * from.col];
      take_apart(to.steps[i][begin / E4m3::kDepth], step, 1);
    }
    to.scales[i] = from.scales[(first + i) / from.tile * from.scale_row + k / chunk * from.scale_col];
  }
}

static inline float add_scaled(float c, float a_scale, float b_scale, float sum) {
  const float scale = a_scale * b_scale;
  return float(double(c) + double(scale) * double(sum));  // the product is exact, so fused or not
}

static inline void multiply_block(const TensorCoreGemm& args, int64_t row, int64_t col, ProductSums& sums) {
  const ScaledGemm& g = args.product;
  const int64_t rows = g.m - row < kProductBlock ? g.m - row : kProductBlock,
                cols = g.n - col < kProductBlock ? g.n - col : kProductBlock;
  Operands a, b;
  float a_before[kProductBlock] = {}, b_before[kProductBlock] = {};  // scales of the chunk before
  for (int64_t k = 0; k < g.k; k += g.chunk) {
    const int64_t depth = g.k - k < g.chunk ? g.k - k : g.chunk;
    take_chunk(g.a, a, row, rows, k, depth, g.chunk);
    take_chunk(g.b, b, col, cols, k, depth, g.chunk);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        float sum = args.promoted || k == 0 ? 0.0f : sums.accumulator[r][c];
        const double before = double(a_before[r]) * double(b_before[c]),
                     now = double(a.scales[r]) * double(b.scales[c]);
        if (!args.promoted && k > 0 && before != now) sum = float(double(sum) * (before / now));
        for (int64_t step = 0; step * E4m3::kDepth < depth; ++step)
          sum = multiply_add(sum, a.steps[r][step], b.steps[c][step]);
        sums.accumulator[r][c] = sum;
        if (args.promoted || k + g.chunk >= g.k) sums.c[r][c] = add_scaled(sums.c[r][c], a.scales[r], b.scales[c], sum);
      }
    }
    for (int64_t i = 0; i < kProductBlock; ++i) a_before[i] = a.scales[i], b_before[i] = b.scales[i];
  }
}

// Of C in its type: the sums begin with what is there, and go back.
template <class T>
static void multiply_block_of(const TensorCoreGemm& args, int64_t row, int64_t col) {
  const ScaledGemm& g = args.product;
  T* c = static_cast<T*>(g.c) + row * g.c_row + col;
  const int64_t rows = g.m - row < kProductBlock ? g.m - row : kProductBlock,
                cols = g.n - col < kProductBlock ? g.n - col : kProductBlock;
  ProductSums sums;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) sums.c[i][j] = g.add ? float(c[i * g.c_row + j]) : 0.0f;
  }
  multiply_block(args, row, col, sums);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) c[i * g.c_row + j] = T(sums.c[i][j]);
  }
}

static inline void multiply(const TensorCoreGemm& args) {
  const ScaledGemm& g = args.product;
  const int64_t across = (g.n + kProductBlock - 1) / kProductBlock, down = (g.m + kProductBlock - 1) / kProductBlock;
  parallel_blocks(g.lane, across * down, 1, [&](int64_t task, int64_t) {
    const int64_t row = task / across * kProductBlock, col = task % across * kProductBlock;
    g.c_type == DType::bf16 ? multiply_block_of<bf16>(args, row, col) : multiply_block_of<float>(args, row, col);
  });
}

}  // namespace hadal::kernels::tensor_core
