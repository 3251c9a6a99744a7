// The packed, register-blocked matrix product of kernels/gemm.h.
//
// C is cut into blocks, one task each, over all products of the list at once. A task walks K in chunks; per chunk it
// packs its rows of A (they stay in L2), then panel by panel of columns packs B (a panel stays in L1) and runs the
// micro-kernel down the rows. Tasks share nothing, so there is one parallel_for and no waiting. B is packed only into
// the L1 panel from which it is used at once: a few rows (decoding) read the weights exactly once.
#include "kernels/gemm.h"

#include "kernels/array.h"
#include "kernels/cpu/gemm_block.h"
#include "kernels/cpu/gemm_few.h"
#include "kernels/cpu/gemm_stream.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// How B comes: as a strided view of T, or as panels of T packed once.
template <class T>
struct Strided {
  using type = T;
  static constexpr bool kPacked = false;
};
template <class T>
struct Panels {
  using type = T;
  static constexpr bool kPacked = true;
};

// The words of a panel packed once as the step reads them, or widened into the worker's panel.
template <class Step, class T>
const float* words_of(const Block& x, int64_t col, int64_t k, int64_t depth) {
  const float* words = panel_at<T>(x, col, k);
  if (sizeof(T) * Step::kDepth == 4) return words;
  constexpr int64_t kUnits = kPerWord<T> / Step::kDepth;  // of a word
  for (int64_t i = 0; i < depth; i += kPerWord<T>, words += kPanel) {
    float* to = x.panel_b + i / Step::kDepth * kPanel;
    for (int64_t j = 0; j < kPanel; j += kW) {
      const V word = load(words + j);
      store(to + j, unit_of<Step, T, 0>(word));
      store(to + kPanel + j, unit_of<Step, T, 1>(word));
      if constexpr (kUnits == 4) {
        store(to + 2 * kPanel + j, unit_of<Step, T, 2>(word));
        store(to + 3 * kPanel + j, unit_of<Step, T, 3>(word));
      }
    }
  }
  return x.panel_b;
}
template <class Step, class T, int NV>
HADAL_INLINE const float* panel_of(Panels<T>, const Block& x, int64_t col, int64_t k, int64_t depth, Ahead) {
  return words_of<Step, T>(x, col, k, depth);
}
template <class Step, class T, int NV>
HADAL_INLINE const float* panel_of(Strided<T>, const Block& x, int64_t col, int64_t k, int64_t depth, Ahead next) {
  pack_b<Step, T, NV>(x, x.panel_b, col, k, depth, next);
  return x.panel_b;
}

Ahead next_panel(const Block& x, int64_t col, int64_t k) {
  const Gemm& g = x.args;
  const bool last_col = col + kPanel >= x.cols, last_k = k + kGemmChunk >= x.product.k;
  if (x.few()) {  // K first
    k = last_k ? (last_col ? x.product.k : 0) : k + kGemmChunk;
    if (k == 0) col += kPanel;
  } else {
    col = last_col ? 0 : col + kPanel;
    if (last_col) k += kGemmChunk;
  }
  if (k >= x.product.k) return {};
  const int64_t cols = least(kPanel, x.cols - col), depth = least(kGemmChunk, x.product.k - k);
  if (g.b_is_panels) {
    const auto lines = [&](const float* words, int64_t per) -> Ahead {
      return {reinterpret_cast<const char*>(words), 4 * kPanel, 4 * kPanel, ceil_div(depth, per)};
    };
    if (g.b_type == DType::f8_e4m3) return lines(panel_at<Code>(x, col, k), 4);
    if (g.b_type == DType::bf16) return lines(panel_at<bf16>(x, col, k), 2);
    return lines(panel_at<float>(x, col, k), 1);
  }
  const int64_t size = bytes_of(g.b_type);
  const char* first = static_cast<const char*>(x.product.b) + (k * g.b_row + (x.col + col) * g.b_col) * size;
  if (g.b_col == 1) return {first, g.b_row * size, cols * size, depth};
  return {first, g.b_col * size, depth * size, cols};
}

// This panel's part of the rows of A for the next chunk.
Ahead next_a(const Block& x, int64_t col, int64_t k) {
  const Gemm& g = x.args;
  k += kGemmChunk;
  if (!x.far_a || k >= x.product.k) return {};
  const int64_t size = bytes_of(g.a_type), depth = least(kGemmChunk, x.product.k - k);
  const bool by_rows = g.a_col == 1;
  const int64_t lines = by_rows ? x.rows : depth, bytes = (by_rows ? depth : x.rows) * size;
  const int64_t panels = ceil_div(x.cols, kPanel), panel = col / kPanel;
  const int64_t first = lines * panel / panels, end = lines * (panel + 1) / panels;
  const int64_t stride = (by_rows ? g.a_row : g.a_col) * size;
  const char* begin = static_cast<const char*>(x.product.a) + (x.row * g.a_row + k * g.a_col) * size;
  return {begin + first * stride, stride, bytes, end - first};
}

template <class Step, PackedA kLayout, int NV>
void run_rows(const Block& x, Micro m, Ahead b, Ahead a, bool fetch_is_c) {
  const int64_t tiles = ceil_div(x.rows, kRows), share = ceil_div(b.left, tiles), share_a = ceil_div(a.left, tiles);
  for (int64_t r = 0; r < x.rows; r += kRows) {
    b.ask(share);
    a.ask(share_a);
    if (fetch_is_c && r + kRows < x.rows) {  // the next tile's rows of C: into L2 now, into L1 by its own call
      Ahead c{m.fetch + kRows * m.fetch_row, m.fetch_row, bytes_of(m.to_type) * kPanel, kRows};
      c.ask(kRows);
    }
    micro_rows<Step, kLayout, NV>(m, least(kRows, x.rows - r));
    m.a += kPackedPanel<Step>;
    m.from += m.from == nullptr ? 0 : kRows * m.from_row;
    m.row_scales += m.row_scales == nullptr ? 0 : kRows;
    m.to += kRows * m.to_row;
    m.fetch += kRows * m.fetch_row;
  }
}

// Calls f(Tag<type of C>).
template <class F>
HADAL_INLINE void with_c_type(const Block& x, F f) {
  if (x.args.c_type == DType::bf16) return f(Tag<bf16>{});
  if (x.args.c_type == DType::f16) return f(Tag<f16>{});
  f(Tag<float>{});
}

// Columns col .. col + cols of the block over one chunk. Totals wait in the scratch between chunks (rows of C may share
// cache sets, and C may have 16 bits); the first chunk takes them from C and the last writes them to C where whole
// vectors fit.
template <class Step, class TB, int NV>
void run_panel(const Block& x, int64_t col, int64_t cols, int64_t k) {
  const Gemm& g = x.args;
  const int64_t depth = least(kGemmChunk, x.product.k - k);
  const bool whole = cols == NV * kW, last = k + depth == x.product.k;
  const Ahead next = next_panel(x, col, k);
  const float* panel = panel_of<Step, typename TB::type, NV>(TB{}, x, col, k, depth, x.few() ? next : Ahead{});
  const int64_t size = bytes_of(g.c_type);
  char* c = static_cast<char*>(x.product.c) + (x.row * g.c_row + x.col + col) * size;
  char* totals = reinterpret_cast<char*>(x.totals(col));
  Micro m{x.packed_a,
          panel,
          ceil_div(depth, Step::kDepth),
          x.totals(col),
          kPanel,
          totals,
          4 * kPanel,
          DType::f32,
          totals,
          4 * kPanel,
          chunk_scale<typename TB::type>(x, col, k)};
  if (const ProductScales* s = scales_of(g, x.product)) {
    float* of_cols = x.scales + kGemmBlockRows;
    if constexpr (TB::kPacked) {
      for (int64_t j = 0; j < cols; ++j) of_cols[j] = m.scale;
      m.scale = 1;
    } else {
      gather_scales(of_cols, s->b, x.col + col, cols, k);
    }
    for (int64_t j = cols; j < NV * kW; ++j) of_cols[j] = 0;
    m.row_scales = x.scales, m.col_scales = of_cols;
  }
  if (k == 0 && !g.add) {
    m.from = nullptr;
  } else if (k == 0 && whole && g.c_type == DType::f32) {
    m.from = reinterpret_cast<const float*>(c), m.from_row = g.c_row;
    m.fetch = c, m.fetch_row = g.c_row * size;
  } else if (k == 0) {
    with_c_type(x, [&](auto type) { load_totals<element<decltype(type)>>(x, col, cols); });
  }
  if (last && whole) {
    m.to = c, m.to_row = g.c_row * size, m.to_type = g.c_type;
    m.fetch = c, m.fetch_row = m.to_row;
  }
  if (g.a_col == 1) {
    run_rows<Step, PackedA::by_rows, NV>(x, m, next, next_a(x, col, k), m.fetch != totals);
  } else {
    run_rows<Step, PackedA::by_depth, NV>(x, m, next, next_a(x, col, k), m.fetch != totals);
  }
  if (last && !whole) with_c_type(x, [&](auto type) { store_totals<element<decltype(type)>>(x, col, cols); });
}

template <class Step, class TB>
void run_columns(const Block& x, int64_t col, int64_t k) {
  const int64_t cols = least(kPanel, x.cols - col);
  if (cols > kW || TB::kPacked) {
    run_panel<Step, TB, kVectors>(x, col, cols, k);
  } else {
    run_panel<Step, TB, 1>(x, col, cols, k);
  }
}

// A few rows: the rows of weights are read through from end to end, a panel of them at once; packing the few rows of A
// for each panel anew costs little.
template <class Step, class TA, class TB>
void run_few_rows(const Block& x) {
  for (int64_t col = 0; col < x.cols; col += kPanel) {
    for (int64_t k = 0; k < x.product.k; k += kGemmChunk) {
      pack_a<Step, TA>(x, k, least(kGemmChunk, x.product.k - k));
      run_columns<Step, TB>(x, col, k);
    }
  }
}

template <class Step, class TA, class TB>
void run_block(const Block& x) {
  if constexpr (TB::kPacked) {
    if (x.rows <= kFewTiles * kRows) return few_block<Step, TA, typename TB::type>(x);
  } else {
    if constexpr (sizeof(TA) > 1) {  // codes have scales
      if (x.stream) return stream_block<Step, TA, typename TB::type>(x);
    }
    if (x.few()) return run_few_rows<Step, TA, TB>(x);
  }
  for (int64_t k = 0; k < x.product.k; k += kGemmChunk) {
    pack_a<Step, TA>(x, k, least(kGemmChunk, x.product.k - k));
    for (int64_t col = 0; col < x.cols; col += kPanel) run_columns<Step, TB>(x, col, k);
  }
}

#if defined(HADAL_PAIRS)
using StepOfPairs = StepBf16;
#else
using StepOfPairs = StepF32;
#endif

template <template <class> class B>
void choose_types(const Block& x) {
  if constexpr (!B<float>::kPacked) {
    const bool a16 = x.args.a_type == DType::f16, b16 = x.args.b_type == DType::f16;
    if (a16 && b16) return run_block<StepF32, f16, B<f16>>(x);
    if (a16) return run_block<StepF32, f16, B<float>>(x);
    if (b16) return run_block<StepF32, float, B<f16>>(x);
    if (x.args.a_type == DType::f8_e4m3) return run_block<StepOfPairs, e4m3, B<e4m3>>(x);
  }
  const bool a16 = x.args.a_type == DType::bf16, b16 = x.args.b_type == DType::bf16;
  if constexpr (B<float>::kPacked) {
    if (x.args.a_type == DType::f8_e4m3) return run_block<StepOfPairs, e4m3, B<Code>>(x);
    if (x.args.b_type == DType::f8_e4m3)
      return a16 ? run_block<StepOfPairs, bf16, B<Code>>(x) : run_block<StepF32, float, B<Code>>(x);
  }
  if (a16 && b16) return run_block<StepOfPairs, bf16, B<bf16>>(x);
  if (a16) return run_block<StepF32, bf16, B<float>>(x);
  if (b16) return run_block<StepF32, float, B<bf16>>(x);
  run_block<StepF32, float, B<float>>(x);
}

// How all products are cut: into as few blocks as the limits allow and `more` of rows, each a whole number of panels
// and as equal as that permits.
struct Cut {
  bool stream = false, far_a = false;
  int64_t unit_depth = 1;  // k per packed unit
  int64_t max_rows = kGemmBlockRows, max_cols = kGemmBlockCols, more = 0;
  int64_t row_panels(const GemmProduct& p) const { return ceil_div(p.m, kRows); }
  int64_t col_panels(const GemmProduct& p) const { return ceil_div(p.n, kPanel); }
  int64_t row_blocks(const GemmProduct& p) const {
    return least(row_panels(p), ceil_div(row_panels(p), max_rows / kRows) + more);
  }
  int64_t col_blocks(const GemmProduct& p) const {
    const int64_t cols = stream ? least(max_cols, stream_cols(p.k, unit_depth)) : max_cols;
    return ceil_div(col_panels(p), cols / kPanel);
  }
};

int64_t bytes_of_a(const Gemm& args) {
  int64_t elements = 0;
  for (int64_t i = 0; i < args.n_products; ++i) elements += args.products[i].m * args.products[i].k;
  return elements * bytes_of(args.a_type);
}

int64_t most_rows(const Gemm& args) {
  int64_t most = 0;
  for (int64_t i = 0; i < args.n_products; ++i) most = args.products[i].m > most ? args.products[i].m : most;
  return most;
}

// Enough tasks that a slow core costs little, but none so small that handing it out costs more than a share of its
// work; and a multiple of the threads while there are few.
Cut choose_cut(const Gemm& args) {
  constexpr int64_t kTasksPerThread = 4, kWorthATask = int64_t(1) << 18;  // multiply-adds
  constexpr int64_t kRowsOfReading = 4;
  const int64_t threads = args.lane->n_threads();
  const int64_t wanted = wanted_tasks(args, kTasksPerThread, kWorthATask, kRowsOfReading);
  constexpr int64_t kFarA = int64_t(4) << 20;  // bytes: past the second-level caches
  Cut cut;
  cut.far_a = bytes_of_a(args) >= kFarA;
  if (streams(args)) {
    if (kMultipliesPairs && args.a_type == DType::bf16 && args.b_type == DType::bf16) cut.unit_depth = 2;
    cut.stream = true, cut.max_rows = kStreamRows, cut.max_cols = kStreamCols;
  }
  if (threads == 1) return cut;
  cut_finer(args, cut, wanted);
  if (count_tasks(args, cut) > 2 * kTasksPerThread * threads || wanted < threads) return cut;
  if (args.b_is_panels && most_rows(args) <= kFewTiles * kRows) return cut;  // each row block would read all of B
  for (Cut even = cut; even.more < least(threads, 8); ++even.more) {
    if (count_tasks(args, even) % threads == 0) return even;
  }
  return cut;
}

void zero_block(const Block& x) {  // K = 0
  if (x.args.add) return;
  const int64_t size = bytes_of(x.args.c_type);
  for (int64_t r = 0; r < x.rows; ++r) {
    char* c = static_cast<char*>(x.product.c) + ((x.row + r) * x.args.c_row + x.col) * size;
    for (int64_t i = 0; i < x.cols * size; ++i) c[i] = 0;
  }
}

void run_task(void* context, int64_t task, int worker) {
  const auto& job = *static_cast<const ProductJob<Gemm, Cut>*>(context);
  const int64_t number = product_of(task, job.first_task, job.args.n_products);
  const GemmProduct& p = job.args.products[number];
  const int64_t index = task - job.first_task[number], row_blocks = job.cut.row_blocks(p),
                col_blocks = job.cut.col_blocks(p);
  const int64_t i = index % row_blocks, j = index / row_blocks;
  const int64_t row_panels = job.cut.row_panels(p), col_panels = job.cut.col_panels(p);
  const int64_t row = i * row_panels / row_blocks * kRows,
                end_row = least((i + 1) * row_panels / row_blocks * kRows, p.m);
  const int64_t col = j * col_panels / col_blocks * kPanel,
                end_col = least((j + 1) * col_panels / col_blocks * kPanel, p.n);
  float* memory = reinterpret_cast<float*>(job.workers + worker * kGemmWorkerBytes);
  const Block x{job.args,
                p,
                job.cut.stream,
                job.cut.far_a,
                row,
                col,
                end_row - row,
                end_col - col,
                memory,
                memory + kPackedA,
                memory + kPackedA + kGemmPanelCols * kGemmChunk,
                memory + kPackedA + kGemmPanelCols * kGemmChunk + kGemmBlockRows * kGemmBlockCols};
  if (p.k == 0) return zero_block(x);
  job.args.b_is_panels ? choose_types<Panels>(x) : choose_types<Strided>(x);
}

}  // namespace

void gemm(const Gemm& args) { run_products(args, choose_cut(args), kGemmWorkerBytes, run_task); }

}  // namespace hadal::kernels::HADAL_ISA
