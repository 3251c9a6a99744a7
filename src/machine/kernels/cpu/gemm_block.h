// What both ways through a block of C share (gemm.cpp, gemm_stream.h): the block, its packing, its ragged edge, and
// asking for lines ahead of their use.
#pragma once
#include "kernels/cpu/gemm_pack.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// A task's block of C, and the workspace of its worker.
struct Block {
  const Gemm& args;
  const GemmProduct& product;
  bool stream;  // which way (gemm_stream.h)
  bool far_a;   // A comes from memory: ask for it ahead
  int64_t row, col, rows, cols;
  float* packed_a;
  float* panel_b;
  float* scratch;                             // running totals: per panel of columns [rows][kPanel]
  float* scales;                              // of the chunk, where the product has them: rows, then a panel's columns
  bool few() const { return rows <= kRows; }  // one tile of rows, as decoding has: memory is what bounds it
  float* totals(int64_t c) const { return scratch + c / kPanel * (rows * kPanel); }
};

// Tiles of rows for which a weight packed once is better read through at once: where pairs bound the product, one.
constexpr int64_t kFewTiles = kMultipliesPairs ? 1 : 4;
constexpr int64_t kPackedA = (kGemmBlockRows / kRows) * kPackedPanel<StepF32>;
static_assert(4 * (kPackedA + kGemmPanelCols * kGemmChunk + kGemmBlockRows * (kGemmBlockCols + 1) + kGemmPanelCols) <=
              kGemmWorkerBytes);

HADAL_INLINE int64_t bytes_of(DType type) {  // of strided operands and of C
  return type == DType::f32 ? 4 : type == DType::f8_e4m3 ? 1 : 2;
}

template <class T>
HADAL_INLINE const T* at(const void* base, int64_t index) {
  return static_cast<const T*>(base) + index;
}

// The scales of an operand's rows (columns of B) first .. in the chunk that begins at k.
HADAL_INLINE void gather_scales(float* to, const ChunkScales& from, int64_t first, int64_t count, int64_t k) {
  const float* scales = from.scales + from.chunk * (k / kGemmChunk);
  for (int64_t i = 0; i < count; ++i) to[i] = scales[from.row * ((first + i) / from.tile)];
}

template <class Step, class T>
void pack_a(const Block& x, int64_t k, int64_t depth) {
  const Gemm& g = x.args;
  const T* p = at<T>(x.product.a, x.row * g.a_row + k * g.a_col);
  if (const ProductScales* s = scales_of(g, x.product)) gather_scales(x.scales, s->a, x.row, x.rows, k);
  if (g.a_col == 1) {
    pack_a_rows<Step>(x.packed_a, p, g.a_row, x.rows, depth);
  } else {
    pack_a_depth<Step>(x.packed_a, p, g.a_col, x.rows, depth);
  }
}

template <class Step, class T, int NV>
void pack_b(const Block& x, float* out, int64_t col, int64_t k, int64_t depth, Ahead next = {}) {
  const Gemm& g = x.args;
  const T* p = at<T>(x.product.b, k * g.b_row + (x.col + col) * g.b_col);
  if (g.b_col == 1) {
    pack_b_rows<Step, T, NV>(out, p, g.b_row, x.cols - col, depth);
  } else {
    pack_b_transposed<Step, T, NV>(out, p, g.b_col, x.cols - col, depth, next);
  }
}

struct Code {  // E4M3, four to a word of a panel
  uint8_t bits;
};

// B packed once (gemm_panels.h): words of its lines for `depth` k, from one panel to the next, and those of the block's
// column col from k on.
template <class T>
constexpr int64_t kPerWord = int64_t(4 / sizeof(T));
template <class T>
constexpr int64_t panel_words_of(int64_t depth) {
  return ceil_div(depth, kPerWord<T>) * kPanel;
}
template <class T>
constexpr int64_t panel_stride_of(int64_t k) {
  constexpr PanelType type = sizeof(T) == 4 ? PanelType::f32 : sizeof(T) == 2 ? PanelType::bf16 : PanelType::fp8;
  return gemm_panel_stride(type, k, kPanel) / 4;
}
template <class T>
const float* panel_at(const Block& x, int64_t col, int64_t k) {
  return static_cast<const float*>(x.product.b) + (x.col + col) / kPanel * panel_stride_of<T>(x.product.k) +
         panel_words_of<T>(k);
}

// Unit i of a word of a panel as the step reads it: the word itself, a float of two bf16 or four codes, a pair of bf16
// of four codes.
// Codes come times kCodeUnit. kMarked: subnormal ones may be among them.
template <class Step, class T, int i, bool kMarked = true>
HADAL_INLINE V unit_of(V word) {
  if constexpr (sizeof(T) * Step::kDepth == 4) return word;
#if defined(HADAL_PAIRS)
  if constexpr (sizeof(T) == 1 && Step::kDepth == 2) return widen_code_pair<i, kMarked>(word);
#endif
  if constexpr (sizeof(T) == 1) return widen_code<i, kMarked>(word);
  return i == 0 ? lower_halves(word) : upper_halves(word);
}
// Which lines have subnormal codes: a word of bits per chunk, behind the lines of a panel of spread codes.
template <class T>
constexpr bool kHasMarks = sizeof(T) == 1 && spreads_codes(kPanel);
template <class T>
HADAL_INLINE const float* marks_at(const Block& x, int64_t col, int64_t k) {
  if (!kHasMarks<T>) return nullptr;
  return panel_at<T>(x, col, 0) + panel_words_of<T>(x.product.k) + k / kGemmChunk;
}

HADAL_INLINE uint32_t read_marks(const float* word) {
  uint32_t marks;
  __builtin_memcpy(&marks, word, 4);
  return marks;
}

// What the sums of a panel's chunk are to be multiplied by; 1 where B is no panel of codes.
template <class T>
HADAL_INLINE float chunk_scale(const Block& x, int64_t col, int64_t k) {
  static_assert(kFp8Block == kGemmChunk && kFp8Block % kPanel == 0);
  if (sizeof(T) != 1 || x.product.b_scales == nullptr) return 1;
  return x.product.b_scales[(x.col + col) / kFp8Block * ceil_div(x.product.k, kFp8Block) + k / kFp8Block] / kCodeUnit;
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

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
