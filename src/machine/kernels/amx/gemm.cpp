// The product of kernels/gemm.h on the tile unit: A in bf16 with B in bf16, or in codes packed once; both in codes. All
// other types are AVX-512's.
//
// C is cut into blocks, one task each. A task walks K in spans; per span its rows of A are copied into tiles (they stay
// in L2), then panel by panel of columns B is brought into the order that tiles read (a panel stays in L1; one packed
// once is read where it lies) and 2 x 2 tiles of C at a time are multiplied. A few rows with a weight packed once read
// through it instead (gemm_few.h), with as many rows in a tile as there are.
#include "kernels/gemm.h"

#include "kernels/amx/gemm_few.h"

namespace hadal::kernels::avx512 {
void gemm(const Gemm& args);
}

namespace hadal::kernels::HADAL_ISA {
namespace {

// Where the totals of a pair of tiles come from in a span (null: they begin) and go to, in elements.
struct Totals {
  const float* from;
  int64_t from_row;
  float* to;
  int64_t to_row;
};
template <int kRowTiles>
HADAL_INLINE void run_span(const Totals& t, const char* a, const char* b, int64_t steps) {
  if (t.from == nullptr) {
    zero_pairs<kRowTiles>();
  } else {
    load_pairs_of_tiles<kRowTiles>(t.from, t.from + kTileRows * t.from_row, t.from_row);
  }
  multiply_steps<kRowTiles>(a, a + steps * kTileBytes, b, steps);
  store_pairs_of_tiles<kRowTiles>(t.to, t.to + kTileRows * t.to_row, t.to_row);
}

// A whose rows are k as tiles, as pack_rows makes them: squares of pairs are turned.
template <class T>
void pack_columns(const TileBlock& x, int64_t k, int64_t depth, int64_t steps) {
  const int64_t line = x.args.a_col;
  for (int64_t row = 0; row < x.rows; row += kTileRows) {
    for (int64_t s = 0; s < steps; ++s) {
      const T* from = at<T>(x.product.a, x.row + row + (k + s * kTileDepth) * line);
      const int64_t left = depth - s * kTileDepth, rows = x.rows - row;
      V square[kW];
      for (int64_t u = 0; u < kW; ++u) {
        const T* unit = from + 2 * u * line;
        if (left >= kTileDepth && rows >= kW) {
          square[u] = Across<StepBf16, T>::whole(unit, line);
        } else {
          square[u] = left > 2 * u ? Across<StepBf16, T>::units(unit, line, left - 2 * u, rows) : zero();
        }
      }
      transpose(square);
      float* to = reinterpret_cast<float*>(x.a + (row / kTileRows * steps + s) * kTileBytes);
      for (int64_t i = 0; i < kW; ++i) store(to + i * kTileLine / 4, square[i]);
    }
  }
}

// The panel of columns col .. of a span of B as tiles read it, [unit][kPanel], zeros up to a whole step.
template <class T, bool kPacked>
const char* panel_of(const TileBlock& x, int64_t col, int64_t k, int64_t depth, int64_t steps) {
  const int64_t units = ceil_div(depth, 2);
  if (x.spread_codes()) {
    widen_codes(x.b, panel_at<Code>(x, col, k), read_marks(marks_at<Code>(x, col, k)), depth);
    return reinterpret_cast<const char*>(x.b);
  }
  if constexpr (kPacked) {
    const float* lines = panel_at<bf16>(x, col, k);
    if (units == steps * kTileRows) return reinterpret_cast<const char*>(lines);
    for (int64_t i = 0; i < units * kPanel; i += kW) store(x.b + i, load(lines + i));
  } else {
    const T* p = at<T>(x.product.b, k * x.args.b_row + (x.col + col) * x.args.b_col);
    if (x.args.b_col == 1) {
      pack_b_rows<StepBf16, T, kVectors>(x.b, p, x.args.b_row, x.cols - col, depth);
    } else {
      pack_b_transposed<StepBf16, T, kVectors>(x.b, p, x.args.b_col, x.cols - col, depth, {});
    }
  }
  for (int64_t i = units * kPanel; i < steps * kTileRows * kPanel; i += kW) store(x.b + i, zero());
  return reinterpret_cast<const char*>(x.b);
}

// A span of a panel of B, in the order of tiles.
struct Panel {
  int64_t col, k, steps;
  const char* b;
  bool last;  // of K
};
HADAL_INLINE void multiply_rows(const TileBlock& x, int64_t row, const Panel& p, const Totals& t) {
  const char* a = x.a + row / kTileRows * p.steps * kTileBytes;
  x.rows - row > kTileRows ? run_span<2>(t, a, p.b, p.steps) : run_span<1>(t, a, p.b, p.steps);
}

// Totals of rows row .. of a panel lie in the scratch between spans; the first takes them from C, the last writes them
// there, itself where whole tiles of C are FP32.
void run_tiles(const TileBlock& x, int64_t row, const Panel& p) {
  const Gemm& g = x.args;
  const int64_t rows = least(2 * kTileRows, x.rows - row);
  const bool whole = g.c_type == DType::f32 && rows % kTileRows == 0 && x.cols - p.col >= kPanel;
  float* scratch = x.totals_at(row, p.col);
  float* c = static_cast<float*>(x.product.c) + (x.row + row) * g.c_row + x.col + p.col;  // if whole
  if (p.k == 0 && g.add && !whole) totals_from_c(x, row, p.col, rows);
  Totals t{scratch, kPanel, scratch, kPanel};
  if (p.k == 0) t.from = !g.add ? nullptr : whole ? c : scratch, t.from_row = whole ? g.c_row : kPanel;
  if (p.last && whole) t.to = c, t.to_row = g.c_row;
  multiply_rows(x, row, p, t);
  if (p.last && !whole) totals_to_c(x, row, p.col, rows);
}

// The same chunk by chunk, where they have scales. A pair's sums join its totals while the next pair is multiplied.
void run_chunk(const TileBlock& x, const Panel& p) {
  const Gemm& g = x.args;
  SumScales scales;
  if (x.spread_codes()) {
    scales.all = chunk_scale<Code>(x, p.col, p.k);
  } else {
    scales.cols = x.col_scales;
  }
  const auto sums_of = [&](int64_t row) __attribute__((always_inline)) {
    return x.sums + (row / (2 * kTileRows) & 1) * (2 * kTileRows * kPanel);
  };
  const auto join = [&](int64_t row) __attribute__((always_inline)) {
    const int64_t rows = least(2 * kTileRows, x.rows - row);
    if (g.scales != nullptr) scales.rows = x.row_scales + row;
    if (p.k == 0 && g.add) totals_from_c(x, row, p.col, rows);
    add_scaled(x.totals_at(row, p.col), sums_of(row), rows, scales, p.k == 0 && !g.add);
    if (p.last) totals_to_c(x, row, p.col, rows);
  };
  for (int64_t row = 0; row < x.rows; row += 2 * kTileRows) {
    multiply_rows(x, row, p, {nullptr, 0, sums_of(row), kPanel});
    if (row > 0) join(row - 2 * kTileRows);
  }
  join((x.rows - 1) / (2 * kTileRows) * (2 * kTileRows));
}

template <class T, bool kPacked>
void run_block(const TileBlock& x) {
  if (kPacked && x.rows <= 2 * kTileRows) return few_block<T>(x);
  const TileUse use(kTileRows, kTileRows);
  const ProductScales* scales = scales_of(x.args, x.product);
  const bool by_chunks = x.spread_codes() || scales != nullptr;
  const int64_t k_size = x.product.k, span = by_chunks ? kGemmChunk : kSpan;
  for (int64_t k = 0; k < k_size; k += span) {
    const int64_t depth = least(span, k_size - k), steps = ceil_div(depth, kTileDepth);
    if (scales != nullptr) gather_scales(x.row_scales, scales->a, x.row, x.rows, k);
    if (x.args.a_col == 1) {
      pack_rows<T>(x, k, depth, steps, ceil_div(x.rows, kTileRows) * kTileRows);
    } else {
      pack_columns<T>(x, k, depth, steps);
    }
    for (int64_t col = 0; col < x.cols; col += kPanel) {
      const char* b = panel_of<T, kPacked>(x, col, k, depth, steps);
      if (scales != nullptr && !kPacked)
        gather_scales(x.col_scales, scales->b, x.col + col, least(kPanel, x.cols - col), k);
      const Panel panel{col, k, steps, b, k + depth == k_size};
      if (by_chunks) {
        run_chunk(x, panel);
      } else {
        for (int64_t row = 0; row < x.rows; row += 2 * kTileRows) run_tiles(x, row, panel);
      }
    }
  }
}

void zero_block(const TileBlock& x) {  // K = 0
  if (x.args.add) return;
  for (int64_t i = 0; i < kBytesOfTotals / 4; i += kW) store(x.totals + i, zero());
  for (int64_t col = 0; col < x.cols; col += kPanel) totals_to_c(x, 0, col, x.rows);
}

// How all products are cut into blocks of whole pairs of tiles, as equal as that permits.
struct Cut {
  int64_t max_rows = kBlockRows, max_cols = kBlockCols;
  int64_t row_blocks(const GemmProduct& p) const { return ceil_div(p.m, max_rows); }
  int64_t col_blocks(const GemmProduct& p) const { return ceil_div(p.n, max_cols); }
};

// Enough tasks that a slow core costs little, but none so small that handing it out, and copying its rows of A once
// more, cost more than a share of its work.
Cut choose_cut(const Gemm& args) {
  constexpr int64_t kTasksPerThread = 4, kWorthATask = int64_t(1) << 21, kRowsOfReading = 32;
  Cut cut;
  if (args.lane->n_threads() > 1)
    cut_finer(args, cut, wanted_tasks(args, kTasksPerThread, kWorthATask, kRowsOfReading));
  return cut;
}

void run_task(void* context, int64_t task, int worker) {
  const auto& job = *static_cast<const ProductJob<Gemm, Cut>*>(context);
  const int64_t number = product_of(task, job.first_task, job.args.n_products);
  const GemmProduct& p = job.args.products[number];
  const int64_t index = task - job.first_task[number], row_blocks = job.cut.row_blocks(p),
                col_blocks = job.cut.col_blocks(p);
  const auto part = [](int64_t i, int64_t blocks, int64_t size, int64_t unit) {
    return least(i * ceil_div(size, unit) / blocks * unit, size);
  };
  const int64_t i = index % row_blocks, j = index / row_blocks;
  const int64_t row = part(i, row_blocks, p.m, 2 * kTileRows), end_row = part(i + 1, row_blocks, p.m, 2 * kTileRows);
  const int64_t col = part(j, col_blocks, p.n, kPanel), end_col = part(j + 1, col_blocks, p.n, kPanel);
  if (end_row == row || end_col == col) return;
  const TileBlock x(job.args, p, job.workers + worker * kWorkerBytes, row, col, end_row - row, end_col - col);
  if (p.k == 0) return zero_block(x);
  if (job.args.a_type == DType::bf16) {
    job.args.b_is_panels ? run_block<bf16, true>(x) : run_block<bf16, false>(x);
  } else {
    job.args.b_is_panels ? run_block<e4m3, true>(x) : run_block<e4m3, false>(x);
  }
}

}  // namespace

void gemm(const Gemm& args) {
  const bool halves = args.a_type == DType::bf16 && (args.b_type == DType::bf16 || args.b_type == DType::f8_e4m3);
  if (!halves && args.a_type != DType::f8_e4m3) return avx512::gemm(args);
  run_products(args, choose_cut(args), kWorkerBytes, run_task);
}

}  // namespace hadal::kernels::HADAL_ISA
