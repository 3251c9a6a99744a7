// The readable product, for float and double: tiles of C, chunks of K, an element summed as kernels/gemm.h says.
// Operands are copied into small arrays of the scalar type first: that makes every stride and dtype one case, and keeps
// the sums in cache.
#include "kernels/gemm.h"

#include <algorithm>

#include "base/bf16.h"
#include "base/float_formats.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels::reference {
namespace {

constexpr int64_t kTileRows = 64, kTileCols = 32, kRows = 2, kCols = 8;

template <class T>
struct alignas(64) Tile {      // indices lie behind the tiles of all workers
  T a[kTileRows][kGemmChunk];  // zero past the edges of the product
  T b[kGemmChunk][kTileCols];
  T total[kTileRows][kTileCols];
  T row_scale[kTileRows], col_scale[kTileCols];  // of the chunk's codes
};

template <class T>
T element(const void* base, DType type, int64_t index) {
  switch (type) {
    case DType::f32: return T(static_cast<const float*>(base)[index]);
    case DType::bf16: return T(float(static_cast<const bf16*>(base)[index]));
    case DType::f16: return T(float(static_cast<const f16*>(base)[index]));
    case DType::f8_e4m3: return T(float(static_cast<const e4m3*>(base)[index]));
    default: return T(static_cast<const double*>(base)[index]);
  }
}

template <class T>
void set_element(void* base, DType type, int64_t index, T value) {
  switch (type) {
    case DType::f32: static_cast<float*>(base)[index] = float(value); break;
    case DType::bf16: static_cast<bf16*>(base)[index] = bf16(float(value)); break;
    case DType::f16: static_cast<f16*>(base)[index] = f16(float(value)); break;
    default: static_cast<double*>(base)[index] = double(value); break;
  }
}

// total[row .. row+kRows][col .. col+kCols] += the chunk's sums.
template <class T>
void add_chunk(Tile<T>& tile, int64_t row, int64_t col, int64_t depth) {
  T sum[kRows][kCols] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const T* b = &tile.b[k][col];
    for (int64_t r = 0; r < kRows; ++r) {
      const T a = tile.a[row + r][k];
      for (int64_t c = 0; c < kCols; ++c) sum[r][c] += a * b[c];
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kCols; ++c)
      tile.total[row + r][col + c] += tile.row_scale[row + r] * tile.col_scale[col + c] * sum[r][c];
  }
}

template <class T>
void load_chunk(const Gemm& args, const GemmProduct& p, Tile<T>& tile, int64_t row, int64_t col, int64_t k) {
  const int64_t rows = std::min(kTileRows, p.m - row), cols = std::min(kTileCols, p.n - col);
  const int64_t depth = std::min(kGemmChunk, p.k - k);
  for (int64_t r = 0; r < (rows + kRows - 1) / kRows * kRows; ++r) {
    for (int64_t i = 0; i < depth; ++i) {
      tile.a[r][i] = r < rows ? element<T>(p.a, args.a_type, (row + r) * args.a_row + (k + i) * args.a_col) : T(0);
    }
  }
  constexpr int64_t width = gemm_panel_cols(Isa::reference);
  static_assert(kFp8Block == kGemmChunk && kFp8Block % kTileCols == 0);
  const int64_t scales_row = (p.k + kFp8Block - 1) / kFp8Block;
  const T scale = p.b_scales == nullptr ? T(1) : T(p.b_scales[col / kFp8Block * scales_row + k / kFp8Block]);
  const ProductScales* scales = scales_of(args, p);
  const auto scale_of = [&](const ChunkScales& s, int64_t i) {
    return T(s.scales[s.row * (i / s.tile) + s.chunk * (k / kGemmChunk)]);
  };
  for (int64_t r = 0; r < kTileRows; ++r)
    tile.row_scale[r] = scales ? scale_of(scales->a, std::min(row + r, p.m - 1)) : scale;
  for (int64_t c = 0; c < kTileCols; ++c)
    tile.col_scale[c] = !scales ? T(1) : args.b_is_panels ? scale : scale_of(scales->b, std::min(col + c, p.n - 1));
  const auto b_index = [&](int64_t row_of_b, int64_t c) {
    return args.b_is_panels ? gemm_panel_index(panel_type_of(args.b_type), row_of_b, c, p.k, width)
                            : row_of_b * args.b_row + c * args.b_col;
  };
  for (int64_t i = 0; i < depth; ++i) {
    for (int64_t c = 0; c < kTileCols; ++c)
      tile.b[i][c] = c < cols ? element<T>(p.b, args.b_type, b_index(k + i, col + c)) : T(0);
  }
}

template <class T>
void one_tile(const Gemm& args, const GemmProduct& p, Tile<T>& tile, int64_t row, int64_t col) {
  const int64_t rows = std::min(kTileRows, p.m - row), cols = std::min(kTileCols, p.n - col);
  for (int64_t r = 0; r < std::min(kTileRows, rows + kRows); ++r) {
    for (int64_t c = 0; c < kTileCols; ++c) {
      const bool inside = args.add && r < rows && c < cols;
      tile.total[r][c] = inside ? element<T>(p.c, args.c_type, (row + r) * args.c_row + col + c) : T(0);
    }
  }
  for (int64_t k = 0; k < p.k; k += kGemmChunk) {
    load_chunk(args, p, tile, row, col, k);
    for (int64_t r = 0; r < rows; r += kRows) {
      for (int64_t c = 0; c < cols; c += kCols) add_chunk(tile, r, c, std::min(kGemmChunk, p.k - k));
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c)
      set_element(p.c, args.c_type, (row + r) * args.c_row + col + c, tile.total[r][c]);
  }
}

int64_t tiles_across(const GemmProduct& p) { return (p.n + kTileCols - 1) / kTileCols; }
int64_t tiles_of(const GemmProduct& p) { return (p.m + kTileRows - 1) / kTileRows * tiles_across(p); }

template <class T>
void gemm_as(const Gemm& args) {
  const int64_t n = args.n_products, tiles = args.lane->n_threads() * int64_t(sizeof(Tile<T>));
  const Workspace space(*args.lane, tiles + 8 * (n + 1));
  auto* first_task = reinterpret_cast<int64_t*>(space.data + tiles);  // of every product, and the end
  first_task[0] = 0;
  for (int64_t i = 0; i < n; ++i) first_task[i + 1] = first_task[i] + tiles_of(args.products[i]);
  args.lane->parallel_for(first_task[n], [&](int64_t task, int worker) {
    const int64_t product = std::upper_bound(first_task, first_task + n + 1, task) - first_task - 1;
    const int64_t tile = task - first_task[product], across = tiles_across(args.products[product]);
    one_tile(args, args.products[product], reinterpret_cast<Tile<T>*>(space.data)[worker], tile / across * kTileRows,
             tile % across * kTileCols);
  });
}

}  // namespace

void gemm(const Gemm& args) {
  if (args.c_type == DType::f64) {
    gemm_as<double>(args);
  } else {
    gemm_as<float>(args);
  }
}

}  // namespace hadal::kernels::reference
