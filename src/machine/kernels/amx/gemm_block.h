// What both ways through a block of C on the tile unit share (gemm.cpp, gemm_few.h): the block and a worker's memory,
// codes widened, and totals on their way between scratch, tiles and C.
#pragma once
#include "kernels/amx/tiles.h"
#include "kernels/cpu/gemm_block.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kSpan = 2 * kGemmChunk;                // of K, packed at once
constexpr int64_t kBlockRows = 384, kBlockCols = 384;    // at most; the totals of a block stay in L2
constexpr int64_t kAhead = 6144;                         // bytes of a panel, asked for ahead of their use
constexpr int64_t kLineOfB = 4 * kPanel;                 // bytes of a unit (a pair of k) of a panel
constexpr int64_t kStepOfB = kTileDepth / 2 * kLineOfB;  // of the units of a tile's depth
constexpr int64_t kBytesOfA = 2 * kBlockRows * kSpan, kBytesOfB = kSpan / 2 * kLineOfB;
constexpr int64_t kBytesOfTotals = 4 * kBlockRows * kBlockCols, kBytesOfSums = 2 * 4 * 2 * kTileRows * kPanel;
constexpr int64_t kWorkerBytes = kBytesOfA + kBytesOfB + kBytesOfTotals + kBytesOfSums + 4 * (kBlockRows + kPanel);
static_assert(kPanel == 2 * kTileCols && kSpan % kTileDepth == 0);

// A task's block of C with the memory of its worker: A in tiles, one panel of B, running totals (per panel of columns
// [padded rows][kPanel]) and the sums of two chunks of codes ([2 kTileRows][kPanel]).
struct TileBlock : Block {
  char* a;
  float *b, *totals, *sums;
  float *row_scales, *col_scales;  // of the chunk

  TileBlock(const Gemm& args, const GemmProduct& product, char* memory, int64_t row, int64_t col, int64_t rows,
            int64_t cols)
      : Block{args, product, false, false, row, col, rows, cols, nullptr, nullptr, nullptr, nullptr},
        a(memory),
        b(reinterpret_cast<float*>(memory + kBytesOfA)),
        totals(b + kBytesOfB / 4),
        sums(totals + kBytesOfTotals / 4),
        row_scales(sums + kBytesOfSums / 4),
        col_scales(row_scales + kBlockRows) {}
  float* totals_at(int64_t r, int64_t c) const {
    return totals + (c / kPanel * ceil_div(rows, 2 * kTileRows) * 2 * kTileRows + r) * kPanel;
  }
  bool spread_codes() const { return args.b_is_panels && args.b_type == DType::f8_e4m3; }
};

// Rows of A from k on as tiles: [tile of rows][step][row][k]. What lies past the last k is zero; rows past the last one
// are written, as zeros, up to `rows`.
template <class T>
HADAL_INLINE void pack_rows(const TileBlock& x, int64_t k, int64_t depth, int64_t steps, int64_t rows) {
  const T* first = at<T>(x.product.a, x.row * x.args.a_row + k);
  for (int64_t row = 0; row < rows; ++row) {
    char* to = x.a + row / kTileRows * steps * kTileBytes + row % kTileRows * kTileLine;
    const T* from = first + row * x.args.a_row;
    for (int64_t left = depth; left > 0; left -= kTileDepth, from += kTileDepth, to += kTileBytes) {
      store(reinterpret_cast<float*>(to), row >= x.rows ? zero() : Along<StepBf16, T>::units(from, left));
    }
  }
}

// `depth` k of a panel of codes as units of bf16, times kCodeUnit; zeros up to a whole step. marks: a bit per line.
HADAL_INLINE void widen_codes(float* to, const float* words, uint32_t marks, int64_t depth) {
  const int64_t lines = ceil_div(depth, kPerWord<Code>), all = ceil_div(depth, kTileDepth) * kTileRows;
  const auto widen = [&]<bool kMarked>() __attribute__((always_inline)) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kPanel; j += kW) {
      __builtin_prefetch(reinterpret_cast<const char*>(words + j) + kAhead, 0, 2);
      const V word = load(words + j);
      store(to + j, unit_of<StepBf16, Code, 0, kMarked>(word));
      store(to + kPanel + j, unit_of<StepBf16, Code, 1, kMarked>(word));
    }
  };
  for (int64_t i = 0; i < lines; ++i, words += kPanel, to += 2 * kPanel, marks >>= 1)
    (marks & 1) == 0 ? widen.template operator()<false>() : widen.template operator()<true>();
  for (int64_t u = 2 * lines; u < all; ++u, to += kPanel) store(to, zero()), store(to + kW, zero());
}

// One or two pairs of tiles of C: two tiles of rows of a panel, or one of two panels. Rows are `row` floats apart.
template <int kPairs>
HADAL_INLINE void zero_pairs() {
  tile_zero<c00>(), tile_zero<c01>();
  if (kPairs == 2) tile_zero<c10>(), tile_zero<c11>();
}
template <int kPairs>
HADAL_INLINE void load_pairs_of_tiles(const float* upper, const float* lower, int64_t row) {
  tile_load<c00>(upper, 4 * row), tile_load<c01>(upper + kTileCols, 4 * row);
  if (kPairs == 2) tile_load<c10>(lower, 4 * row), tile_load<c11>(lower + kTileCols, 4 * row);
}
template <int kPairs>
HADAL_INLINE void store_pairs_of_tiles(float* upper, float* lower, int64_t row) {
  tile_store<c00>(upper, 4 * row), tile_store<c01>(upper + kTileCols, 4 * row);
  if (kPairs == 2) tile_store<c10>(lower, 4 * row), tile_store<c11>(lower + kTileCols, 4 * row);
}

// Tiles of rows of A by a panel over some steps.
template <int kRowTiles>
HADAL_INLINE void multiply_steps(const char* upper, const char* lower, const char* b, int64_t steps) {
  for (int64_t s = 0; s < steps; ++s) {
    tile_load<b0>(b + s * kStepOfB, kLineOfB), tile_load<b1>(b + s * kStepOfB + kTileLine, kLineOfB);
    tile_load<a0>(upper + s * kTileBytes, kTileLine);
    tile_multiply<c00, a0, b0>(), tile_multiply<c01, a0, b1>();
    if (kRowTiles == 1) continue;
    tile_load<a1>(lower + s * kTileBytes, kTileLine);
    tile_multiply<c10, a1, b0>(), tile_multiply<c11, a1, b1>();
  }
}

// A chunk's sums times the scale of its codes join the totals.
struct SumScales {
  float all = 1;
  const float* cols = nullptr;  // of the panel's columns, instead of it
  const float* rows = nullptr;  // of the rows beside either, where A is codes too
};
HADAL_INLINE void add_scaled(float* totals, const float* sums, int64_t rows, const SumScales& scales, bool begins) {
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kPanel; j += kW, totals += kW, sums += kW) {
      const V of_col = scales.cols == nullptr ? broadcast(scales.all) : load(scales.cols + j);
      const V by = scales.rows == nullptr ? of_col : mul(broadcast(scales.rows[r]), of_col);
      const V sum = mul(by, load(sums));
      store(totals, begins ? sum : add(load(totals), sum));
    }
  }
}

// Totals of some rows of a panel, from C and to C.
template <class T>
HADAL_INLINE void copy_from_c(float* totals, const T* c, int64_t c_row, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, c += c_row, totals += kPanel) {
    for (int64_t j = 0; j < cols; j += kW) store(totals + j, load_n(c + j, least(kW, cols - j)));
  }
}
template <class T>
HADAL_INLINE void copy_to_c(T* c, const float* totals, int64_t c_row, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, c += c_row, totals += kPanel) {
    for (int64_t j = 0; j < cols; j += kW) store_n(c + j, load(totals + j), least(kW, cols - j));
  }
}
inline void totals_from_c(const TileBlock& x, int64_t row, int64_t col, int64_t rows) {
  const int64_t first = (x.row + row) * x.args.c_row + x.col + col, cols = least(kPanel, x.cols - col);
  float* totals = x.totals_at(row, col);
  x.args.c_type == DType::bf16 ? copy_from_c(totals, at<bf16>(x.product.c, first), x.args.c_row, rows, cols)
                               : copy_from_c(totals, at<float>(x.product.c, first), x.args.c_row, rows, cols);
}
inline void totals_to_c(const TileBlock& x, int64_t row, int64_t col, int64_t rows) {
  const int64_t first = (x.row + row) * x.args.c_row + x.col + col, cols = least(kPanel, x.cols - col);
  const float* totals = x.totals_at(row, col);
  if (x.args.c_type == DType::bf16) {
    copy_to_c(static_cast<bf16*>(x.product.c) + first, totals, x.args.c_row, rows, cols);
  } else {
    copy_to_c(static_cast<float*>(x.product.c) + first, totals, x.args.c_row, rows, cols);
  }
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
