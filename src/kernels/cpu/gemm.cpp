// The packed, register-blocked matrix product of kernels/gemm.h.
//
// C is cut into blocks, one task each, over all products of the list at once. A task walks K in chunks; per chunk it
// packs its rows of A (they stay in L2), then panel by panel of columns packs B (a panel stays in L1) and runs the
// micro-kernel down the rows. Tasks share nothing, so there is one parallel_for and no waiting. B is packed only into
// the L1 panel from which it is used at once: a few rows (decoding) read the weights exactly once.
#include "kernels/gemm.h"

#include "kernels/cpu/gemm_micro.h"
#include "kernels/cpu/gemm_pack.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A task's block of C, and the workspace of its worker.
struct Block {
  const Gemm& args;
  const GemmProduct& product;
  int64_t row, col, rows, cols;
  float* packed_a;
  float* panel_b;
  float* scratch;  // running totals: per panel of columns [rows][kPanel]
  float* totals(int64_t c) const { return scratch + c / kPanel * (rows * kPanel); }
};

template <class T>
HADAL_INLINE const T* at(const void* base, int64_t index) {
  return static_cast<const T*>(base) + index;
}

template <class Step, class T>
void pack_a(const Block& x, int64_t k, int64_t depth) {
  const Gemm& g = x.args;
  const T* p = at<T>(x.product.a, x.row * g.a_row + k * g.a_col);
  if (g.a_col == 1) {
    pack_a_rows<Step>(x.packed_a, p, g.a_row, x.rows, depth);
  } else {
    pack_a_depth<Step>(x.packed_a, p, g.a_col, x.rows, depth);
  }
}

template <class Step, class T, int NV>
void pack_b(const Block& x, int64_t col, int64_t k, int64_t depth) {
  const Gemm& g = x.args;
  const T* p = at<T>(x.product.b, k * g.b_row + (x.col + col) * g.b_col);
  if (g.b_col == 1) {
    pack_b_rows<Step, T, NV>(x.panel_b, p, g.b_row, x.cols - col, depth);
  } else {
    pack_b_transposed<Step, T, NV>(x.panel_b, p, g.b_col, x.cols - col, depth);
  }
}

// The scratch totals of one panel of columns, from C (add) or to C.
template <class T>
void load_totals(const Block& x, int64_t col, int64_t cols) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* c = at<T>(x.product.c, (x.row + r) * x.args.c_row + x.col + col);
    for (int64_t j = 0; j < cols; j += kW) store(x.totals(col) + r * kPanel + j, load_n(c + j, least(kW, cols - j)));
  }
}
template <class T>
void store_totals(const Block& x, int64_t col, int64_t cols) {
  for (int64_t r = 0; r < x.rows; ++r) {
    T* c = const_cast<T*>(at<T>(x.product.c, (x.row + r) * x.args.c_row + x.col + col));
    for (int64_t j = 0; j < cols; j += kW) store_n(c + j, load(x.totals(col) + r * kPanel + j), least(kW, cols - j));
  }
}

// The part of B that is packed next, asked for line by line while this panel is multiplied: with few rows the weights
// come from memory, and packing would wait for every line.
struct Ahead {
  const char* line = nullptr;
  int64_t stride = 0, bytes = 0, left = 0;  // lines of `bytes` bytes
  void ask(int64_t lines) {
    for (lines = least(lines, left); lines > 0; --lines, --left, line += stride) {
      for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(line + i, 0, 2);
    }
  }
};

Ahead next_panel(const Block& x, int64_t col, int64_t k) {
  const Gemm& g = x.args;
  if (col + kPanel < x.cols) {
    col += kPanel;
  } else {
    col = 0, k += kGemmChunk;
  }
  if (k >= x.product.k) return {};
  const int64_t size = g.b_type == GemmType::bf16 ? 2 : 4;
  const int64_t cols = least(kPanel, x.cols - col), depth = least(kGemmChunk, x.product.k - k);
  const char* first = static_cast<const char*>(x.product.b) + (k * g.b_row + (x.col + col) * g.b_col) * size;
  if (g.b_col == 1) return {first, g.b_row * size, cols * size, depth};
  return {first, g.b_col * size, depth * size, cols};
}

template <class Step, PackedA kLayout, int NV>
void run_rows(const Block& x, Micro m, Ahead b, bool fetch_is_c) {
  const int64_t share = ceil_div(b.left, ceil_div(x.rows, kRows));
  for (int64_t r = 0; r < x.rows; r += kRows) {
    b.ask(share);
    if (fetch_is_c && r + kRows < x.rows) {  // the next tile's rows of C: into L2 now, into L1 by its own call
      Ahead c{m.fetch + kRows * m.fetch_row, m.fetch_row, (m.to_bf16 ? 2 : 4) * kPanel, kRows};
      c.ask(kRows);
    }
    micro_rows<Step, kLayout, NV>(m, least(kRows, x.rows - r));
    m.a += kPackedPanel<Step>;
    m.from += m.from == nullptr ? 0 : kRows * m.from_row;
    m.to += kRows * m.to_row;
    m.fetch += kRows * m.fetch_row;
  }
}

// Columns col .. col + cols of the block over one chunk. Totals wait in the scratch between chunks (rows of C may share
// cache sets, and C may be bf16); the first chunk takes them from C and the last writes them to C where whole vectors
// fit.
template <class Step, class TB, int NV>
void run_panel(const Block& x, int64_t col, int64_t cols, int64_t k) {
  const Gemm& g = x.args;
  const int64_t depth = least(kGemmChunk, x.product.k - k);
  const bool bf16_out = g.c_type == GemmType::bf16, whole = cols == NV * kW, last = k + depth == x.product.k;
  pack_b<Step, TB, NV>(x, col, k, depth);
  const int64_t size = bf16_out ? 2 : 4;
  char* c = static_cast<char*>(x.product.c) + (x.row * g.c_row + x.col + col) * size;
  char* totals = reinterpret_cast<char*>(x.totals(col));
  Micro m{x.packed_a, x.panel_b, ceil_div(depth, Step::kDepth), x.totals(col), kPanel, totals, 4 * kPanel, false,
          totals,     4 * kPanel};
  if (k == 0 && !g.add) {
    m.from = nullptr;
  } else if (k == 0 && whole && !bf16_out) {
    m.from = reinterpret_cast<const float*>(c), m.from_row = g.c_row;
    m.fetch = c, m.fetch_row = g.c_row * size;
  } else if (k == 0) {
    bf16_out ? load_totals<bf16>(x, col, cols) : load_totals<float>(x, col, cols);
  }
  if (last && whole) {
    m.to = c, m.to_row = g.c_row * size, m.to_bf16 = bf16_out;
    m.fetch = c, m.fetch_row = m.to_row;
  }
  if (g.a_col == 1) {
    run_rows<Step, PackedA::by_rows, NV>(x, m, next_panel(x, col, k), m.fetch != totals);
  } else {
    run_rows<Step, PackedA::by_depth, NV>(x, m, next_panel(x, col, k), m.fetch != totals);
  }
  if (last && !whole) bf16_out ? store_totals<bf16>(x, col, cols) : store_totals<float>(x, col, cols);
}

template <class Step, class TA, class TB>
void run_block(const Block& x) {
  for (int64_t k = 0; k < x.product.k; k += kGemmChunk) {
    pack_a<Step, TA>(x, k, least(kGemmChunk, x.product.k - k));
    for (int64_t col = 0; col < x.cols; col += kPanel) {
      const int64_t cols = least(kPanel, x.cols - col);
      if (cols > kW) {
        run_panel<Step, TB, kVectors>(x, col, cols, k);
      } else {
        run_panel<Step, TB, 1>(x, col, cols, k);
      }
    }
  }
}

void choose_types(const Block& x) {
  const bool a16 = x.args.a_type == GemmType::bf16, b16 = x.args.b_type == GemmType::bf16;
#if defined(HADAL_ISA_avx512_bf16)
  if (a16 && b16) return run_block<StepBf16, bf16, bf16>(x);
#else
  if (a16 && b16) return run_block<StepF32, bf16, bf16>(x);
#endif
  if (a16) return run_block<StepF32, bf16, float>(x);
  if (b16) return run_block<StepF32, float, bf16>(x);
  run_block<StepF32, float, float>(x);
}

// How all products are cut: into as few blocks as the limits allow and `more` of rows, each a whole number of panels
// and as equal as that permits.
struct Cut {
  int64_t max_rows = kGemmBlockRows, max_cols = kGemmBlockCols, more = 0;
  int64_t row_panels(const GemmProduct& p) const { return ceil_div(p.m, kRows); }
  int64_t col_panels(const GemmProduct& p) const { return ceil_div(p.n, kPanel); }
  int64_t row_blocks(const GemmProduct& p) const {
    return least(row_panels(p), ceil_div(row_panels(p), max_rows / kRows) + more);
  }
  int64_t col_blocks(const GemmProduct& p) const { return ceil_div(col_panels(p), max_cols / kPanel); }
};

int64_t count_tasks(const Gemm& args, const Cut& cut) {
  int64_t tasks = 0;
  for (int64_t i = 0; i < args.n_products; ++i)
    tasks += cut.row_blocks(args.products[i]) * cut.col_blocks(args.products[i]);
  return tasks;
}

// Enough tasks that a slow core costs little, but none so small that handing it out costs more than a share of its
// work; and a multiple of the threads while there are few.
Cut choose_cut(const Gemm& args) {
  constexpr int64_t kTasksPerThread = 4, kWorthATask = int64_t(1) << 18;  // multiply-adds
  const int64_t threads = args.pool->n_threads();
  int64_t work = 0;
  for (int64_t i = 0; i < args.n_products; ++i) work += args.products[i].m * args.products[i].n * args.products[i].k;
  const int64_t wanted = least(kTasksPerThread * threads, work / kWorthATask);
  Cut cut;
  if (threads == 1) return cut;
  while (count_tasks(args, cut) < wanted && (cut.max_rows > 96 || cut.max_cols > 64)) {
    if (cut.max_rows > 96 && (cut.max_rows > cut.max_cols || cut.max_cols <= 64)) {
      cut.max_rows /= 2;
    } else {
      cut.max_cols /= 2;
    }
  }
  if (count_tasks(args, cut) > 2 * kTasksPerThread * threads || wanted < threads) return cut;
  for (Cut even = cut; even.more < least(threads, 8); ++even.more) {
    if (count_tasks(args, even) % threads == 0) return even;
  }
  return cut;
}

constexpr int64_t kPackedA = (kGemmBlockRows / kRows) * kPackedPanel<StepF32>;
static_assert(4 * (kPackedA + kGemmPanelCols * kGemmChunk + kGemmBlockRows * kGemmBlockCols) <= gemm_worker_bytes());

struct Job {
  const Gemm& args;
  Cut cut;
  int64_t* first_task;  // of every product, and the end
};

void zero_block(const Block& x) {  // K = 0
  if (x.args.add) return;
  const int64_t size = x.args.c_type == GemmType::bf16 ? 2 : 4;
  for (int64_t r = 0; r < x.rows; ++r) {
    char* c = static_cast<char*>(x.product.c) + ((x.row + r) * x.args.c_row + x.col) * size;
    for (int64_t i = 0; i < x.cols * size; ++i) c[i] = 0;
  }
}

void run_task(void* context, int64_t task, int worker) {
  const Job& job = *static_cast<const Job*>(context);
  int64_t low = 0, high = job.args.n_products;  // the product that holds the task
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (job.first_task[middle] <= task ? low : high) = middle;
  }
  const GemmProduct& p = job.args.products[low];
  const int64_t index = task - job.first_task[low], row_blocks = job.cut.row_blocks(p),
                col_blocks = job.cut.col_blocks(p);
  const int64_t i = index % row_blocks, j = index / row_blocks;
  const int64_t row_panels = job.cut.row_panels(p), col_panels = job.cut.col_panels(p);
  const int64_t row = i * row_panels / row_blocks * kRows,
                end_row = least((i + 1) * row_panels / row_blocks * kRows, p.m);
  const int64_t col = j * col_panels / col_blocks * kPanel,
                end_col = least((j + 1) * col_panels / col_blocks * kPanel, p.n);
  float* memory = reinterpret_cast<float*>(static_cast<char*>(job.args.workspace) + worker * gemm_worker_bytes());
  const Block x{job.args,
                p,
                row,
                col,
                end_row - row,
                end_col - col,
                memory,
                memory + kPackedA,
                memory + kPackedA + kGemmPanelCols * kGemmChunk};
  p.k == 0 ? zero_block(x) : choose_types(x);
}

}  // namespace

void gemm(const Gemm& args) {
  char* after_workers = static_cast<char*>(args.workspace) + args.pool->n_threads() * gemm_worker_bytes();
  Job job{args, choose_cut(args), reinterpret_cast<int64_t*>(after_workers)};
  int64_t tasks = 0;
  for (int64_t i = 0; i < args.n_products; ++i) {
    job.first_task[i] = tasks;
    tasks += job.cut.row_blocks(args.products[i]) * job.cut.col_blocks(args.products[i]);
  }
  job.first_task[args.n_products] = tasks;
  args.pool->run(tasks, run_task, &job);
}

}  // namespace hadal::kernels::HADAL_ISA
