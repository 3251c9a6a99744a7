// A few tiles of rows with a weight packed once (gemm_panels.h), as decoding has them: memory is what bounds it. The
// rows of A are packed for all of K; then the panels stream through, a few side by side, so that there are enough sums
// to hide a multiply-add's latency even with one row; bf16 and codes are widened on their way from memory to the sums.
// These are the sums of gemm_micro.h: per element one step per unit, ascending, chunk after chunk.
#pragma once
#include "kernels/array.h"
#include "kernels/cpu/gemm_block.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

struct Few {
  const float* a;                     // [row][kGemmChunk / depth of a unit]
  const float* b;                     // the first panel's words of this chunk
  int64_t panel_words;                // from one panel to the next
  int64_t depth;                      // k of this chunk
  float* totals;                      // [panel][row][kPanel]
  int64_t rows;                       // of a panel's totals
  bool begins;                        // the totals begin with this chunk
  const float* scales;                // of this chunk's codes, one per panel; null: B is no codes
  const float* marks;                 // of this chunk's codes in the first panel (marks_at); null: there are none
  const float* row_scales = nullptr;  // of this chunk's codes of A; null: A is no codes
};

constexpr int64_t kFewAhead = 2048;  // bytes of a panel, asked for ahead of their use

// Calls f(Tag<type of C>, column, columns) for every panel of the columns.
template <class F>
HADAL_INLINE void each_total(const Block& x, int64_t col, int64_t cols, F f) {
  for (int64_t c = col; c < col + cols; c += kPanel) {
    const int64_t n = least(kPanel, col + cols - c);
    x.args.c_type == DType::bf16 ? f(Tag<bf16>{}, c, n) : f(Tag<float>{}, c, n);
  }
}

// A chunk's sums join the totals, times the scales of their codes.
template <int R, int P>
HADAL_INLINE void few_totals(const Few& m, V (&sum)[R][P][kVectors]) {
  if (m.scales != nullptr) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const V scale = broadcast(m.scales[p]);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V by = m.row_scales != nullptr ? mul(broadcast(m.row_scales[r]), scale) : scale;
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) sum[r][p][j] = mul(by, sum[r][p][j]);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        float* total = m.totals + (p * m.rows + r) * kPanel + j * kW;
        store(total, m.begins ? sum[r][p][j] : add(load(total), sum[r][p][j]));
      }
    }
  }
}

// Which lines of the chunk have marks in any of P panels.
template <class TB, int P>
HADAL_INLINE uint32_t few_marks(const Few& m) {
  uint32_t marks = 0;
  if constexpr (kHasMarks<TB>) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) marks |= read_marks(m.marks + p * m.panel_words);
  }
  return marks;
}

// R rows by P panels over one chunk.
template <class Step, class TB, int R, int P>
__attribute__((noinline)) void few_chunk(const Few& m) {
  constexpr int64_t row = kGemmChunk / Step::kDepth, kUnits = kPerWord<TB> / Step::kDepth;  // of a word
  V sum[R][P][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) sum[r][p][j] = zero();
    }
  }
  const float *a = m.a, *b = m.b;
  const auto step = [&]<int kUnit, bool kMarked>() __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      V w[kVectors];
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) w[j] = unit_of<Step, TB, kUnit, kMarked>(load(b + p * m.panel_words + j * kW));
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V x = broadcast(a[r * row + kUnit]);
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) sum[r][p][j] = Step::step(x, w[j], sum[r][p][j]);
      }
    }
  };
  const auto line = [&]<bool kMarked>(int64_t units) __attribute__((always_inline)) {
    step.template operator()<0, kMarked>();
    if constexpr (kUnits > 1) {
      if (units > 1) step.template operator()<1, kMarked>();
    }
    if constexpr (kUnits > 2) {
      if (units > 2) step.template operator()<2, kMarked>();
      if (units > 3) step.template operator()<3, kMarked>();
    }
  };
  uint32_t marks = few_marks<TB, P>(m);
  const int64_t whole = kUnits > 1 ? m.depth / kPerWord<TB> : ceil_div(m.depth, Step::kDepth);
  for (int64_t u = 0; u < whole; ++u, a += kUnits, b += kPanel, marks >>= 1) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const char* ahead = reinterpret_cast<const char*>(b + p * m.panel_words) + kFewAhead;
#pragma GCC unroll 2
      for (int64_t i = 0; i < 4 * kPanel; i += 64) __builtin_prefetch(ahead + i);
    }
    kHasMarks<TB> && (marks & 1) == 0 ? line.template operator()<false>(kUnits)
                                      : line.template operator()<true>(kUnits);
  }
  // The last word is not whole: what lies beside the last k is no part of A.
  if (kUnits > 1 && m.depth % kPerWord < TB >> 0)
    line.template operator()<true>(ceil_div(m.depth % kPerWord<TB>, Step::kDepth));
  few_totals<R, P>(m, sum);
}

template <class Step, class TB, int R, int P>
HADAL_INLINE void few_panels(Few m, int64_t panels) {
  const auto pass = [&m](int64_t n) __attribute__((always_inline)) {
    m.b += n * m.panel_words, m.totals += n * m.rows * kPanel;
    if (m.scales != nullptr) m.scales += n;
    if (m.marks != nullptr) m.marks += n * m.panel_words;
  };
  for (; panels >= P; panels -= P, pass(P)) few_chunk<Step, TB, R, P>(m);
  if constexpr (P > 1) few_panels<Step, TB, R, P / 2>(m, panels);
}

// Rows in tiles of halving height, each with as many panels as fill the registers.
template <class Step, class TB>
void few_rows(Few m, int64_t rows, int64_t panels) {
  constexpr int64_t row = kGemmChunk / Step::kDepth;
  constexpr int kWide = kW == 16 ? 2 : 1;  // 4 x 2 x 2 sums: half of AVX-512's registers, all of AVX2's
  while (rows > 0) {
    int64_t done = 1;
    if (rows >= kRows) {
      few_panels<Step, TB, kRows, 1>(m, panels), done = kRows;
      m.a += kPackedPanel<Step> - kRows * row;  // the next tile
    } else if (kRows > 8 && rows >= 8) {
      few_panels<Step, TB, (kRows > 8 ? 8 : 1), 1>(m, panels), done = 8;
    } else if (kRows > 6 && rows >= 6) {
      few_panels<Step, TB, (kRows > 6 ? 6 : 1), 1>(m, panels), done = 6;
    } else if (rows >= 4) {
      few_panels<Step, TB, 4, kWide>(m, panels), done = 4;
    } else if (rows == 3) {
      few_panels<Step, TB, 3, kWide>(m, panels), done = 3;
    } else if (rows == 2) {
      few_panels<Step, TB, 2, 2>(m, panels), done = 2;
    } else {
      few_panels<Step, TB, 1, 4>(m, panels);
    }
    rows -= done, m.a += done * row, m.totals += done * kPanel;
    if (m.row_scales != nullptr) m.row_scales += done;
  }
}

constexpr int64_t kFewPanels = 4;  // streams from memory at once

template <class Step, class TA, class TB>
void few_block(const Block& x) {
  const Gemm& g = x.args;
  const int64_t k_size = x.product.k, panel_words = panel_stride_of<TB>(k_size);
  const int64_t tiles = ceil_div(x.rows, kRows);
  const int64_t most = kPackedA / (tiles * kPackedPanel<StepF32>)*kGemmChunk;  // of K, whose packed rows find room
  for (int64_t band = 0; band < k_size; band += most) {
    const int64_t end = least(k_size, band + most);
    float* a = x.packed_a;
    for (int64_t k = band; k < end; k += kGemmChunk, a += tiles * kPackedPanel<Step>)
      pack_a_rows<Step>(a, at<TA>(x.product.a, x.row * g.a_row + k), g.a_row, x.rows, least(kGemmChunk, end - k));
    for (int64_t col = 0; col < x.cols; col += kFewPanels * kPanel) {
      const int64_t cols = least(kFewPanels * kPanel, x.cols - col), panels = ceil_div(cols, kPanel);
      if (band == 0 && g.add)
        each_total(x, col, cols,
                   [&](auto type, int64_t c, int64_t n) { load_totals<element<decltype(type)>>(x, c, n); });
      Few m{x.packed_a, panel_at<TB>(x, col, band), panel_words, 0, x.totals(col), x.rows, band == 0 && !g.add,
            nullptr,    marks_at<TB>(x, col, band)};
      float scales[kFewPanels];
      for (int64_t k = band; k < end; k += kGemmChunk, m.begins = false) {
        m.depth = least(kGemmChunk, end - k);
        if (g.b_type == DType::f8_e4m3) {
          for (int64_t p = 0; p < panels; ++p) scales[p] = chunk_scale<TB>(x, col + p * kPanel, k);
          m.scales = scales;
        }
        if (const ProductScales* s = scales_of(g, x.product)) {
          gather_scales(x.scales, s->a, x.row, x.rows, k);
          m.row_scales = x.scales;
        }
        few_rows<Step, TB>(m, x.rows, panels);
        m.a += tiles * kPackedPanel<Step>, m.b += panel_words_of<TB>(kGemmChunk);
        if (m.marks != nullptr) ++m.marks;
      }
      if (end == k_size)
        each_total(x, col, cols,
                   [&](auto type, int64_t c, int64_t n) { store_totals<element<decltype(type)>>(x, c, n); });
    }
  }
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
