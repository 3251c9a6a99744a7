// The formula over blocks of C; codes are widened into small arrays, which makes every stride one case.
#include "kernels/scaled_gemm.h"

#include <algorithm>

#include "base/bf16.h"
#include "base/float_formats.h"

namespace hadal::kernels::reference {
namespace {

constexpr int64_t kBlock = 32;  // rows and columns of C

struct Widened {
  float values[kBlock][kGemmChunk];
  float scales[kBlock];
};

void widen(const ScaledOperand& from, Widened& to, int64_t first, int64_t count, int64_t k, int64_t depth,
           int64_t chunk) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* codes = from.codes + (first + i) * from.row + k * from.col;
    for (int64_t j = 0; j < depth; ++j) {
      e4m3 code;
      code.bits = codes[j * from.col];
      to.values[i][j] = float(code);
    }
    to.scales[i] = from.scales[(first + i) / from.tile * from.scale_row + k / chunk * from.scale_col];
  }
}

float chunk_sum(const float* a, const float* b, int64_t depth) {
  float sum = 0;
  for (int64_t k = 0; k < depth; ++k) sum += a[k] * b[k];
  return sum;
}

float load(const ScaledGemm& args, int64_t at) {
  return args.c_type == DType::bf16 ? float(static_cast<const bf16*>(args.c)[at])
                                    : static_cast<const float*>(args.c)[at];
}

void store(const ScaledGemm& args, int64_t at, float value) {
  if (args.c_type == DType::bf16) {
    static_cast<bf16*>(args.c)[at] = bf16(value);
  } else {
    static_cast<float*>(args.c)[at] = value;
  }
}

void block(const ScaledGemm& args, int64_t row, int64_t col) {
  const int64_t rows = std::min(kBlock, args.m - row), cols = std::min(kBlock, args.n - col);
  Widened a, b;
  float total[kBlock][kBlock];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) total[r][c] = args.add ? load(args, (row + r) * args.c_row + col + c) : 0.0f;
  }
  for (int64_t k = 0; k < args.k; k += args.chunk) {
    const int64_t depth = std::min(args.chunk, args.k - k);
    widen(args.a, a, row, rows, k, depth, args.chunk);
    widen(args.b, b, col, cols, k, depth, args.chunk);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c)
        total[r][c] += a.scales[r] * b.scales[c] * chunk_sum(a.values[r], b.values[c], depth);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) store(args, (row + r) * args.c_row + col + c, total[r][c]);
  }
}

}  // namespace

void scaled_gemm(const ScaledGemm& args) {
  const int64_t across = (args.n + kBlock - 1) / kBlock, down = (args.m + kBlock - 1) / kBlock;
  args.lane->parallel_for(across * down,
                          [&](int64_t task, int) { block(args, task / across * kBlock, task % across * kBlock); });
}

}  // namespace hadal::kernels::reference
