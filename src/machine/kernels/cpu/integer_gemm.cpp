// Products with int8 and int4 panels (kernels/integer_gemm.h). A task owns rows and panels of C: panel by panel it
// walks K in bands that stay in L1, each met by all rows, a few at a time, whose running totals wait in the scratch.
#include "kernels/integer_gemm.h"

#include "kernels/cpu/integer_dot.h"

#if defined(HADAL_ISA_avx512)
namespace hadal::kernels::avx512_vnni {
void integer_gemm(const IntegerGemm& args);  // this file once more, where the CPU has VNNI
}
#endif

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kVectors = 2, kPanel = kVectors * kW;
static_assert(kPanel == gemm_panel_cols(kW == 8 ? Isa::avx2 : Isa::avx512));
constexpr int64_t kBandGroups = 16;  // of K: 17 KB of int8, 9 KB of int4 in panels of 32
constexpr int64_t kBlockRows = 192;  // of a task: their codes over all of K stay in L2
#if defined(HADAL_ISA_avx2)
constexpr int kTileRows = 4;
#else
constexpr int kTileRows = 6;
#endif
constexpr int64_t kAhead = 4096;  // bytes of a panel, asked for ahead of their use

HADAL_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <PanelType kType>
constexpr int64_t kOffset = kType == PanelType::int8 ? 128 : 8;  // in the panel, q + kOffset

// The dots of R rows with one group of a panel. x: the rows' groups, `row_groups` apart.
template <PanelType kType, int R>
HADAL_INLINE void dots(const IntegerGroup* x, int64_t row_groups, const uint8_t* group, I (&sum)[R][kVectors]) {
  using D = Dot<kType>;
  constexpr int64_t kWords = kIntegerGroup / panel_word_depth(kType), kLine = 4 * kPanel;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const I start = broadcast_int(int32_t(-kOffset<kType> * x[r * row_groups].sum));
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) sum[r][j] = start;
  }
  const auto multiply = [&](const I(&w)[kVectors], int64_t k) __attribute__((always_inline)) {
    typename D::W ready[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) ready[j] = D::weights(w[j]);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const typename D::X row = D::row(x[r * row_groups].q + k);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[r][j] = D::step(sum[r][j], ready[j], row);
    }
  };
  const uint8_t* line = group + 2 * kPanel;
#pragma GCC unroll 8
  for (int64_t u = 0; u < kWords; ++u, line += kLine) {
#pragma GCC unroll 2
    for (int64_t i = 0; i < kLine; i += 64) __builtin_prefetch(line + kAhead + i);
    I w[kVectors], part[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) w[j] = load_bytes(line + j * (kLine / kVectors));
    if constexpr (kType == PanelType::int8) {
      multiply(w, 4 * u);
    } else {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) part[j] = lower_nibbles(w[j]);
      multiply(part, 8 * u);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) part[j] = upper_nibbles(w[j]);
      multiply(part, 8 * u + 4);
    }
  }
}

// R rows over `groups` groups of one panel; totals: [row][kPanel].
template <PanelType kType, int R>
__attribute__((noinline)) static void tile(const IntegerGroup* x, int64_t row_groups, const uint8_t* panel,
                                           int64_t groups, float* totals, bool begins) {
  V total[R][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) total[r][j] = begins ? zero() : load(totals + r * kPanel + j * kW);
  }
  for (int64_t g = 0; g < groups; ++g, ++x, panel += integer_group_bytes(kType, kPanel)) {
    I sum[R][kVectors];
    dots<kType, R>(x, row_groups, panel, sum);
    V scale[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) scale[j] = load_f16(panel + 2 * kW * j);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const V row_scale = broadcast(x[r * row_groups].scale);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) total[r][j] = fma(to_float(sum[r][j]), mul(row_scale, scale[j]), total[r][j]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) store(totals + r * kPanel + j * kW, total[r][j]);
  }
}

struct Block {
  const IntegerGemm& args;
  const IntegerProduct& product;
  int64_t row, rows, panel, panels;
  float* totals;  // [rows][kPanel]
};

template <class T>
void load_totals(const Block& x, int64_t col, int64_t cols) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* c = static_cast<const T*>(x.product.c) + (x.row + r) * x.args.c_row + col;
    for (int64_t j = 0; j < kPanel; j += kW) {
      const int64_t left = cols - j;
      store(x.totals + r * kPanel + j, load_n(c + j, left < 0 ? 0 : least(kW, left)));
    }
  }
}
template <class T>
void store_totals(const Block& x, int64_t col, int64_t cols) {
  for (int64_t r = 0; r < x.rows; ++r) {
    T* c = static_cast<T*>(x.product.c) + (x.row + r) * x.args.c_row + col;
    for (int64_t j = 0; j < cols; j += kW) store_n(c + j, load(x.totals + r * kPanel + j), least(kW, cols - j));
  }
}

template <PanelType kType>
void run_rows(const Block& x, const uint8_t* band, int64_t first, int64_t groups) {
  const int64_t row_groups = integer_groups(x.product.k);
  const IntegerGroup* a = x.product.a + x.row * row_groups + first;
  const bool begins = first == 0 && !x.args.add;
  float* totals = x.totals;
  for (int64_t left = x.rows; left > 0;) {
    int64_t done = 1;
    if (left >= kTileRows) {
      tile<kType, kTileRows>(a, row_groups, band, groups, totals, begins), done = kTileRows;
    } else if (left >= 4 && kTileRows > 4) {
      tile<kType, (kTileRows > 4 ? 4 : 1)>(a, row_groups, band, groups, totals, begins), done = 4;
    } else if (left >= 2) {
      tile<kType, 2>(a, row_groups, band, groups, totals, begins), done = 2;
    } else {
      tile<kType, 1>(a, row_groups, band, groups, totals, begins);
    }
    left -= done, a += done * row_groups, totals += done * kPanel;
  }
}

template <PanelType kType>
void run_block(const Block& x) {
  const int64_t groups = integer_groups(x.product.k), bytes = integer_group_bytes(kType, kPanel);
  const bool bf16_out = x.args.c_type == DType::bf16;
  for (int64_t p = x.panel; p < x.panel + x.panels; ++p) {
    const int64_t col = p * kPanel, cols = least(kPanel, x.product.n - col);
    const auto* panel = static_cast<const uint8_t*>(x.product.b) + p * groups * bytes;
    if (x.args.add) bf16_out ? load_totals<bf16>(x, col, cols) : load_totals<float>(x, col, cols);
    for (int64_t g = 0; g < groups; g += kBandGroups)
      run_rows<kType>(x, panel + g * bytes, g, least(kBandGroups, groups - g));
    if (groups == 0 && !x.args.add) {
      for (int64_t i = 0; i < x.rows * kPanel; ++i) x.totals[i] = 0;
    }
    bf16_out ? store_totals<bf16>(x, col, cols) : store_totals<float>(x, col, cols);
  }
}

HADAL_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Job {
  const IntegerGemm& args;
  int64_t task_panels;
  const int64_t* first_task;  // of every product, and the end
  float* totals;              // of every worker
};

void run_task(void* context, int64_t task, int worker) {
  const Job& job = *static_cast<const Job*>(context);
  int64_t low = 0, high = job.args.n_products;  // the product that holds the task
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (job.first_task[middle] <= task ? low : high) = middle;
  }
  const IntegerProduct& p = job.args.products[low];
  const int64_t index = task - job.first_task[low], blocks = ceil_div(p.m, kBlockRows), panels = ceil_div(p.n, kPanel);
  const int64_t row = index % blocks * kBlockRows, panel = index / blocks * job.task_panels;
  const Block block{job.args,
                    p,
                    row,
                    least(kBlockRows, p.m - row),
                    panel,
                    least(job.task_panels, panels - panel),
                    job.totals + worker * (kBlockRows * kPanel)};
  job.args.type == PanelType::int8 ? run_block<PanelType::int8>(block) : run_block<PanelType::int4>(block);
}

}  // namespace

void integer_gemm(const IntegerGemm& args) {
#if defined(HADAL_ISA_avx512)
  if (__builtin_cpu_supports("avx512vnni")) return avx512_vnni::integer_gemm(args);
#endif
  const int64_t threads = args.lane->n_threads(), totals = threads * kBlockRows * kPanel * 4;
  const Workspace space(*args.lane, totals + 8 * (args.n_products + 1));
  auto* first_task = reinterpret_cast<int64_t*>(space.data + totals);
  int64_t all = 0;  // panels of all products, once per block of rows
  for (int64_t i = 0; i < args.n_products; ++i)
    all += ceil_div(args.products[i].n, kPanel) * ceil_div(args.products[i].m, kBlockRows);
  constexpr int64_t kTasksPerThread = 8;
  const int64_t task_panels = all > kTasksPerThread * threads ? ceil_div(all, kTasksPerThread * threads) : 1;
  int64_t tasks = 0;
  for (int64_t i = 0; i < args.n_products; ++i) {
    const IntegerProduct& p = args.products[i];
    first_task[i] = tasks;
    tasks += ceil_div(ceil_div(p.n, kPanel), task_panels) * ceil_div(p.m, kBlockRows);
  }
  first_task[args.n_products] = tasks;
  Job job{args, task_panels, first_task, reinterpret_cast<float*>(space.data)};
  args.lane->pool().run(tasks, run_task, &job);
}

}  // namespace hadal::kernels::HADAL_ISA
