// The second way through a block of C, for weight gradients (A across K, C in FP32): a long matrix C that is read,
// added to and written once per few products of each element must come and go in long runs, or memory's rows and the
// walk over pages cost more than the sums. All of B for the block is packed first and stays in L2; then tile by tile of
// rows A is packed into L1 and swept over all columns, so that C is touched once, row by row, while the tile below is
// asked for. The sums are the same as in gemm.cpp: only the order of the tiles differs.
#pragma once
#include "kernels/cpu/gemm_block.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kStreamDepth = 4 * kGemmChunk;  // of K per sweep
constexpr int64_t kStreamRows = 3072, kStreamCols = 2048;
constexpr int64_t kPackedTiles = 8;  // of A, each one chunk deep
constexpr int64_t kStreamA = kPackedTiles * kPackedPanel<StepF32>;
static_assert(kPackedTiles * kGemmChunk >= kStreamDepth);
constexpr int64_t kStreamTotals = kRows * kPanel;  // of a ragged tile
constexpr int64_t kStreamB = kGemmWorkerBytes / 4 - kStreamA - kStreamTotals;

// Worth it where C is far larger than the caches and few products go into each of its elements: else B is better read
// from L1.
inline bool streams(const Gemm& g) {
  constexpr int64_t kLargeC = int64_t(1) << 21;  // elements
  const bool pairs = g.a_type == DType::bf16 && g.b_type == DType::bf16 && kMultipliesPairs;
  if (g.a_col == 1 || g.c_type != DType::f32 || g.scales != nullptr) return false;
  int64_t elements = 0, products = 0;
  for (int64_t i = 0; i < g.n_products; ++i) {
    const GemmProduct& p = g.products[i];
    elements += p.m * p.n, products += p.m * p.n * p.k;
  }
  return elements >= kLargeC && products <= (pairs ? 512 : 256) * elements;
}

// Words of a packed panel of B over all of a sweep's chunks.
inline int64_t stream_panel(int64_t depth, int64_t unit_depth) {
  const int64_t chunks = ceil_div(depth, kGemmChunk);
  return kPanel * (chunks > 1 ? chunks * kGemmChunk / unit_depth : ceil_div(depth, unit_depth));
}
// Columns of a block whose B fits.
inline int64_t stream_cols(int64_t k, int64_t unit_depth) {
  const int64_t panel = stream_panel(least(k, kStreamDepth), unit_depth);
  return panel == 0 ? kStreamCols : least(kStreamCols, kStreamB / panel * kPanel);
}

template <class Step, class TB>
struct Stream {
  static constexpr int64_t kChunkOfB = kPanel * kGemmChunk / Step::kDepth;
  const Block& x;
  int64_t k, depth;  // of this sweep
  float *a, *totals, *b;

  int64_t chunks() const { return ceil_div(depth, kGemmChunk); }
  int64_t chunk_depth(int64_t i) const { return least(kGemmChunk, depth - i * kGemmChunk); }
  float* panel(int64_t col) const { return b + col / kPanel * stream_panel(depth, Step::kDepth); }

  void pack_all_b() const {
    for (int64_t i = 0; i < chunks(); ++i) {
      for (int64_t col = 0; col < x.cols; col += kPanel) {
        float* out = panel(col) + i * kChunkOfB;
        if (x.cols - col > kW) {
          pack_b<Step, TB, kVectors>(x, out, col, k + i * kGemmChunk, chunk_depth(i));
        } else {
          pack_b<Step, TB, 1>(x, out, col, k + i * kGemmChunk, chunk_depth(i));
        }
      }
    }
  }

  // One tile of C over all of the sweep's chunks. C itself holds the totals, or where whole vectors do not fit a copy.
  template <int NV>
  void tile(int64_t row, int64_t col, int64_t cols, const float* packed) const {
    const Gemm& g = x.args;
    const int64_t rows = least(kRows, x.rows - row);
    const bool whole = cols == NV * kW, begins = k == 0 && !g.add;
    const Block edge{g,    x.product, true,    x.far_a, x.row + row, x.col + col,
                     rows, cols,      nullptr, nullptr, totals,      nullptr};
    float* c = static_cast<float*>(x.product.c) + (x.row + row) * g.c_row + x.col + col;
    if (!whole && !begins) load_totals<float>(edge, 0, cols);
    Micro m{packed, panel(col), 0, whole ? c : totals, whole ? g.c_row : kPanel, nullptr, 0, DType::f32, nullptr, 0};
    m.to = reinterpret_cast<char*>(const_cast<float*>(m.from)), m.to_row = m.from_row * 4;
    const bool more = row + 2 * kRows <= x.rows;  // of the tile below, asked for now
    m.fetch = reinterpret_cast<const char*>(more ? c + kRows * g.c_row : m.from),
    m.fetch_row = more ? g.c_row * 4 : m.to_row;
    const float* const totals_at = m.from;
    if (begins) m.from = nullptr;
    for (int64_t i = 0; i < chunks(); ++i, m.a += kPackedTiles / chunks() * kPackedPanel<Step>, m.b += kChunkOfB) {
      m.units = ceil_div(chunk_depth(i), Step::kDepth);
      micro_rows<Step, PackedA::by_depth, NV>(m, rows);
      m.from = totals_at, m.fetch = m.to, m.fetch_row = m.to_row;
    }
    if (!whole) store_totals<float>(edge, 0, cols);
  }

  // Several tiles of A are packed together: their lines lie far apart, often in the same sets of the caches, and are to
  // be used whole at once. Those of the next tiles are asked for meanwhile.
  template <class TA>
  void sweep() const {
    pack_all_b();
    const Gemm& g = x.args;
    const int64_t group = kPackedTiles / chunks() * kRows;
    for (int64_t first = 0; first < x.rows; first += group) {
      const int64_t rows = least(group, x.rows - first);
      const TA* p = at<TA>(x.product.a, x.row + first + k * g.a_col);
      for (int64_t i = 0; i < chunks(); ++i) {
        pack_a_depth<Step>(a + i * (kPackedTiles / chunks()) * kPackedPanel<Step>, p + i * kGemmChunk * g.a_col,
                           g.a_col, rows, chunk_depth(i));
      }
      const int64_t after = least(group, x.rows - first - rows), size = int64_t(sizeof(TA));
      Ahead next{reinterpret_cast<const char*>(p + group), g.a_col * size, after * size, after > 0 ? depth : 0};
      const int64_t share = ceil_div(depth, ceil_div(rows, kRows) * ceil_div(x.cols, kPanel));
      for (int64_t row = 0; row < rows; row += kRows) {
        for (int64_t col = 0; col < x.cols; col += kPanel) {
          const int64_t cols = least(kPanel, x.cols - col);
          next.ask(share);
          if (cols > kW) {
            tile<kVectors>(first + row, col, cols, a + row / kRows * kPackedPanel<Step>);
          } else {
            tile<1>(first + row, col, cols, a + row / kRows * kPackedPanel<Step>);
          }
        }
      }
    }
  }
};

template <class Step, class TA, class TB>
void stream_block(const Block& x) {
  float* memory = x.packed_a;  // the worker's first byte
  for (int64_t k = 0; k < x.product.k; k += kStreamDepth) {
    Stream<Step, TB>{
        x, k, least(kStreamDepth, x.product.k - k), memory, memory + kStreamA, memory + kStreamA + kStreamTotals}
        .template sweep<TA>();
  }
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
