// Products with int8 and int4 panels (kernels/integer_gemm.h). A task owns rows and panels of C: panel by panel it
// walks K in bands that stay in L1, each met by all rows, a few at a time, whose running totals wait in the scratch.
#include "kernels/integer_gemm.h"

#include "kernels/cpu/integer_dot.h"
#include "kernels/cpu/product_tasks.h"

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
constexpr int64_t kFewRows = 12;     // up to so many, panels are read side by side
constexpr int64_t kBlockRows = 192;  // of a task: their codes over all of K stay in L2
#if defined(HADAL_ISA_avx2)
constexpr int kTileRows = 4;
#else
constexpr int kTileRows = 6;
#endif
constexpr int64_t kSide = 4;  // panels side by side where there are few rows: streams from memory at once
constexpr int64_t kWorkerTotals = (kBlockRows > kSide * kFewRows ? kBlockRows : kSide * kFewRows) * kPanel;
// Bytes of a panel, asked for ahead of their use: of panels side by side the next lines, and behind their end those of
// the panels that follow all of them; of one panel the band after this one.
template <int P>
constexpr int64_t kAhead = P > 1 ? 2048 : 16384;

template <PanelType kType>
constexpr int64_t kOffset = kType == PanelType::int8 ? 128 : 8;  // in the panel, q + kOffset

// The dots of R rows with one group of P panels. x: the rows' groups, `row_groups` apart; the panels' `panel_bytes`.
// `ahead`: where the lines lie that are asked for.
template <PanelType kType, int R, int P>
HADAL_INLINE void dots(const IntegerGroup* x, int64_t row_groups, const uint8_t* group, int64_t panel_bytes,
                       int64_t ahead, I (&sum)[P][R][kVectors]) {
  using D = Dot<kType>;
  constexpr int64_t kWords = kIntegerGroup / panel_word_depth(kType), kLine = 4 * kPanel;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const I start = broadcast_int(int32_t(-kOffset<kType> * x[r * row_groups].sum));
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) sum[p][r][0] = sum[p][r][1] = start;
  }
  const auto multiply = [&](const I(&w)[kVectors], int p, int64_t k) __attribute__((always_inline)) {
    const typename D::W ready[kVectors] = {D::weights(w[0]), D::weights(w[1])};
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const typename D::X row = D::row(x[r * row_groups].q + k);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[p][r][j] = D::step(sum[p][r][j], ready[j], row);
    }
  };
  const uint8_t* line = group + 2 * kPanel;
#pragma GCC unroll 8
  for (int64_t u = 0; u < kWords; ++u, line += kLine) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const uint8_t* at = line + p * panel_bytes;
#pragma GCC unroll 2
      for (int64_t i = 0; i < kLine; i += 64) __builtin_prefetch(at + ahead + i, 0, P > 1 ? 3 : 2);
      const I w[kVectors] = {load_bytes(at), load_bytes(at + kLine / 2)};
      if constexpr (kType == PanelType::int8) {
        multiply(w, p, 4 * u);
      } else {
        const I low[kVectors] = {lower_nibbles(w[0]), lower_nibbles(w[1])};
        multiply(low, p, 8 * u);
        const I high[kVectors] = {upper_nibbles(w[0]), upper_nibbles(w[1])};
        multiply(high, p, 8 * u + 4);
      }
    }
  }
}

// Where the running totals of a panel's rows lie: from one panel to the next, and from one row to the next kPanel.
struct Totals {
  float* first;
  int64_t panel;
  bool begin;  // they begin with this band
};

// A band of K: so many groups of each panel, the first at `words`, and what of its panel lies from there to the end.
struct Band {
  const uint8_t* words;
  int64_t panel_bytes, groups, left;
};

// R rows over a band of P panels.
template <PanelType kType, int R, int P>
__attribute__((noinline)) static void tile(const IntegerGroup* x, int64_t row_groups, Band band, Totals totals) {
  V total[P][R][kVectors];
  const auto each = [&](auto f) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) f(p, r, j, totals.first + p * totals.panel + r * kPanel + j * kW);
      }
    }
  };
  each([&](int p, int r, int j, const float* at)
           __attribute__((always_inline)) { total[p][r][j] = totals.begin ? zero() : load(at); });
  constexpr int64_t kGroup = integer_group_bytes(kType, kPanel);
  for (int64_t g = 0; g < band.groups; ++g, ++x, band.words += kGroup, band.left -= kGroup) {
    I sum[P][R][kVectors];
    const int64_t ahead = kAhead<P> + (P > 1 && band.left <= kAhead<P> ? (P - 1) * band.panel_bytes : 0);
    dots<kType, R, P>(x, row_groups, band.words, band.panel_bytes, ahead, sum);
    each([&](int p, int r, int j, const float*) __attribute__((always_inline)) {
      const V scale = mul(broadcast(x[r * row_groups].scale),
                          load(reinterpret_cast<const f16*>(band.words + p * band.panel_bytes + 2 * kW * j)));
      total[p][r][j] = fma(to_float(sum[p][r][j]), scale, total[p][r][j]);
    });
  }
  each([&](int p, int r, int j, float* at) __attribute__((always_inline)) { store(at, total[p][r][j]); });
}

struct Block {
  const IntegerGemm& args;
  const IntegerProduct& product;
  int64_t row, rows, panel, panels;
  float* totals;  // [kSide or 1 panels][rows][kPanel]
  int64_t side() const { return rows <= kFewRows ? kSide : 1; }
  int64_t totals_of_panel() const { return rows * kPanel; }
};

template <class T>
void load_totals(const Block& x, int64_t col, int64_t cols, float* totals) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* c = static_cast<const T*>(x.product.c) + (x.row + r) * x.args.c_row + col;
    for (int64_t j = 0; j < kPanel; j += kW) {
      const int64_t left = cols - j;
      store(totals + r * kPanel + j, load_n(c + j, left < 0 ? 0 : least(kW, left)));
    }
  }
}
template <class T>
void store_totals(const Block& x, int64_t col, int64_t cols, const float* totals) {
  for (int64_t r = 0; r < x.rows; ++r) {
    T* c = static_cast<T*>(x.product.c) + (x.row + r) * x.args.c_row + col;
    for (int64_t j = 0; j < cols; j += kW) store_n(c + j, load(totals + r * kPanel + j), least(kW, cols - j));
  }
}
// f(first column, columns, totals) for each of the panels.
template <class F>
HADAL_INLINE void each_panel(const Block& x, int64_t panel, int64_t panels, F f) {
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t col = (panel + p) * kPanel;
    f(col, least(kPanel, x.product.n - col), x.totals + p * x.totals_of_panel());
  }
}

// R rows by all of the panels, P at a time, and the rest by halves of it.
template <PanelType kType, int R, int P>
HADAL_INLINE void tiles(const IntegerGroup* a, int64_t row_groups, Band band, int64_t panels, Totals totals) {
  for (; panels >= P; panels -= P, band.words += P * band.panel_bytes, totals.first += P * totals.panel)
    tile<kType, R, P>(a, row_groups, band, totals);
  if constexpr (P > 1) tiles<kType, R, P / 2>(a, row_groups, band, panels, totals);
}

template <PanelType kType>
void run_rows(const Block& x, const Band& band, int64_t panels, int64_t first) {
  const int64_t row_groups = integer_groups(x.product.k);
  const IntegerGroup* a = x.product.a + x.row * row_groups + first;
  Totals totals{x.totals, x.totals_of_panel(), first == 0 && !x.args.add};
  for (int64_t left = x.rows; left > 0;) {
    int64_t done = 1;
    if (left >= kTileRows) {
      tiles<kType, kTileRows, 1>(a, row_groups, band, panels, totals), done = kTileRows;
    } else if (left >= 4 && kTileRows > 4) {
      tiles<kType, (kTileRows > 4 ? 4 : 1), 2>(a, row_groups, band, panels, totals), done = 4;
    } else if (left >= 2) {
      tiles<kType, 2, 2>(a, row_groups, band, panels, totals), done = 2;
    } else {
      tiles<kType, 1, 4>(a, row_groups, band, panels, totals);
    }
    left -= done, a += done * row_groups, totals.first += done * kPanel;
  }
}

template <PanelType kType>
void run_block(const Block& x) {
  const int64_t groups = integer_groups(x.product.k), bytes = integer_group_bytes(kType, kPanel);
  const bool bf16_out = x.args.c_type == DType::bf16;
  for (int64_t panel = x.panel; panel < x.panel + x.panels; panel += x.side()) {
    const int64_t panels = least(x.side(), x.panel + x.panels - panel);
    const auto* words = static_cast<const uint8_t*>(x.product.b) + panel * groups * bytes;
    if (groups == 0 || x.args.add) {
      each_panel(x, panel, panels, [&](int64_t col, int64_t cols, float* totals) {
        if (!x.args.add) {
          for (int64_t i = 0; i < x.totals_of_panel(); ++i) totals[i] = 0;
        } else {
          bf16_out ? load_totals<bf16>(x, col, cols, totals) : load_totals<float>(x, col, cols, totals);
        }
      });
    }
    for (int64_t g = 0; g < groups; g += kBandGroups) {
      const Band band{words + g * bytes, groups * bytes, least(kBandGroups, groups - g), (groups - g) * bytes};
      run_rows<kType>(x, band, panels, g);
    }
    each_panel(x, panel, panels, [&](int64_t col, int64_t cols, const float* totals) {
      bf16_out ? store_totals<bf16>(x, col, cols, totals) : store_totals<float>(x, col, cols, totals);
    });
  }
}

struct Job {
  const IntegerGemm& args;
  int64_t task_panels;
  const int64_t* first_task;  // of every product, and the end
  int64_t threads;
  float* totals;  // of every worker
};

void run_task(void* context, int64_t i, int worker) {
  const Job& job = *static_cast<const Job*>(context);
  const int64_t task = task_in_stretches(i, job.first_task[job.args.n_products], job.threads);
  const int64_t number = product_of(task, job.first_task, job.args.n_products);
  const IntegerProduct& p = job.args.products[number];
  const int64_t index = task - job.first_task[number], blocks = ceil_div(p.m, kBlockRows),
                panels = ceil_div(p.n, kPanel);
  const int64_t row = index % blocks * kBlockRows, panel = index / blocks * job.task_panels;
  const Block block{job.args,
                    p,
                    row,
                    least(kBlockRows, p.m - row),
                    panel,
                    least(job.task_panels, panels - panel),
                    job.totals + worker * kWorkerTotals};
  job.args.type == PanelType::int8 ? run_block<PanelType::int8>(block) : run_block<PanelType::int4>(block);
}

}  // namespace

void integer_gemm(const IntegerGemm& args) {
#if defined(HADAL_ISA_avx512)
  if (__builtin_cpu_supports("avx512vnni")) return avx512_vnni::integer_gemm(args);
#endif
  const int64_t threads = args.lane->n_threads(), totals = threads * kWorkerTotals * 4;
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
  Job job{args, task_panels, first_task, threads, reinterpret_cast<float*>(space.data)};
  args.lane->pool().run(tasks, run_task, &job);
}

}  // namespace hadal::kernels::HADAL_ISA
