// The inner product kernels: R rows by NV vectors of C held in registers over one chunk of K.
//
// Packed operands are made of 4-byte units: one float, or with the Bf16 step one pair (k, k+1) of bf16. kUnits units
// span a chunk. B is packed [unit][NV * kW]. A is packed by rows, [row][kUnits], or by depth, panels of [unit][kRows]
// (its own layout in memory decides, so that packing never transposes A).
#pragma once
#include "kernels/cpu/simd.h"
#include "kernels/gemm.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels::HADAL_ISA {

// Limits of a task's block of C, for every instruction set: what a thread packs and accumulates must stay in its L2
// cache.
constexpr int64_t kGemmBlockRows = 384, kGemmBlockCols = 256, kGemmPanelCols = 64;

// Per worker: packed A, one packed panel of B, a block of FP32 totals for outputs that are not FP32, and scales of rows
// and of a panel's columns.
constexpr int64_t kGemmWorkerBytes = 4 * (kGemmBlockRows * (kGemmChunk + 16) + kGemmPanelCols * kGemmChunk +
                                          kGemmBlockRows * kGemmBlockCols + kGemmBlockRows + kGemmPanelCols);

#if defined(HADAL_ISA_avx2)
constexpr int64_t kRows = 6;  // 6 x 2 sums, 2 of B, 1 of A: 15 of 16 registers
#else
constexpr int64_t kRows = 12;  // 12 x 2 sums leave the loads of A and B ahead of the 2 multipliers
#endif
constexpr int64_t kVectors = 2, kPanel = kVectors * kW;
static_assert(kPanel <= kGemmPanelCols && kGemmBlockRows % kRows == 0);
static_assert(kPanel == gemm_panel_cols(Isa::HADAL_ISA));

// From one panel of packed A to the next, in units: a cache line more than it holds, so that panels packed side by side
// do not fall into the same cache sets.
template <class Step>
constexpr int64_t kPackedPanel = kRows* kGemmChunk / Step::kDepth + 16;

struct StepF32 {
  static constexpr int64_t kDepth = 1;  // k per unit
  HADAL_INLINE V step(V a, V b, V sum) { return fma(a, b, sum); }
};
#if defined(HADAL_PAIRS)
constexpr bool kMultipliesPairs = true;
struct StepBf16 {
  static constexpr int64_t kDepth = 2;
  HADAL_INLINE V step(V a, V b, V sum) { return dot(sum, as_pairs(a), as_pairs(b)); }
};
#else
constexpr bool kMultipliesPairs = false;
#endif

enum class PackedA { by_rows, by_depth };

// Handed on by reference: a copy reads the fields as vectors, and waits for those that were just written one by one.
struct Micro {
  const float* a;     // first row of the tile
  const float* b;     // the panel
  int64_t units;      // of this chunk
  const float* from;  // the tile's totals so far; null: they begin with this chunk
  int64_t from_row;
  char* to;        // the new totals: floats, or bf16 or f16 (rounded: the last chunk)
  int64_t to_row;  // in bytes
  DType to_type;
  const char* fetch;  // of from and to the farther one from the caches: asked for while the sums are made
  int64_t fetch_row;  // in bytes
  float scale = 1;    // of the chunk's codes; 1: no codes
  const float* row_scales = nullptr;  // of the chunk: of the tile's rows, and of the panel's columns; null: none
  const float* col_scales = nullptr;
};

template <class T, int R, int NV>
HADAL_INLINE void store_sums(char* to, const int64_t to_row, const V (&sum)[R][NV]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r, to += to_row) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) store(reinterpret_cast<T*>(to) + j * kW, sum[r][j]);
  }
}

// The chunk's sums times the scales of its codes.
template <int R, int NV>
HADAL_INLINE void scale_sums(const Micro& m, V (&sum)[R][NV]) {
  if (m.scale != 1.0f) {
    const V scale = broadcast(m.scale);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sum[r][j] = mul(sum[r][j], scale);
    }
  }
  if (m.row_scales != nullptr) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V by_row = broadcast(m.row_scales[r]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sum[r][j] = mul(mul(by_row, load(m.col_scales + j * kW)), sum[r][j]);
    }
  }
}

// The chunk's sums start from 0 and take one step per unit, ascending: the bit contract of kernels/gemm.h is these
// lines. Never inlined: the sums need every register, and inside a larger function some of them are spilled.
template <class Step, PackedA kLayout, int R, int NV>
__attribute__((noinline)) static void micro(const Micro& m) {
  constexpr int64_t row = kLayout == PackedA::by_rows ? kGemmChunk / Step::kDepth : 1;
  constexpr int64_t unit = kLayout == PackedA::by_rows ? 1 : kRows;
  V sum[R][NV];
  const char* line = m.fetch;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r, line += m.fetch_row) {
    __builtin_prefetch(line, 1);
    if (NV > 1) __builtin_prefetch(line + 64, 1);
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) sum[r][j] = zero();
  }
  const float* a = m.a;
  const float* b = m.b;
#pragma GCC unroll 2
  for (int64_t k = 0; k < m.units; ++k) {
    V bk[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bk[j] = load(b + j * kW);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V ak = broadcast(a[r * row]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sum[r][j] = Step::step(ak, bk[j], sum[r][j]);
    }
    a += unit;
    b += NV * kW;
  }
  scale_sums(m, sum);
  if (m.from != nullptr) {
    const float* from = m.from;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r, from += m.from_row) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sum[r][j] = add(load(from + j * kW), sum[r][j]);
    }
  }
  if (m.to_type == DType::bf16) {
    store_sums<bf16>(m.to, m.to_row, sum);
  } else if (m.to_type == DType::f16) {
    store_sums<f16>(m.to, m.to_row, sum);
  } else {
    store_sums<float>(m.to, m.to_row, sum);
  }
}

// `rows` of a panel of kRows: the whole in one tile, a rest in tiles of halving height.
template <class Step, PackedA kLayout, int NV>
static void micro_rows(const Micro& panel, int64_t rows) {
  if (rows == kRows) return micro<Step, kLayout, kRows, NV>(panel);
  Micro m = panel;
  constexpr int64_t row = kLayout == PackedA::by_rows ? kGemmChunk / Step::kDepth : 1;
  while (rows > 0) {
    int64_t done = 1;
    if (kRows > 8 && rows >= 8) {
      micro<Step, kLayout, (kRows > 8 ? 8 : 1), NV>(m), done = 8;
    } else if (rows >= 4) {
      micro<Step, kLayout, 4, NV>(m), done = 4;
    } else if (rows >= 2) {
      micro<Step, kLayout, 2, NV>(m), done = 2;
    } else {
      micro<Step, kLayout, 1, NV>(m);
    }
    rows -= done;
    m.a += done * row;
    m.from += m.from == nullptr ? 0 : done * m.from_row;
    m.row_scales += m.row_scales == nullptr ? 0 : done;
    m.to += done * m.to_row;
    m.fetch += done * m.fetch_row;
  }
}

}  // namespace hadal::kernels::HADAL_ISA
