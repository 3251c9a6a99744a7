// Panels: the right operand of a product, packed once in the order in which the product of an instruction set reads it,
// for weights that meet a few rows at a time (decoding), where packing at every call costs more than multiplying.
//
// A panel holds W = gemm_panel_cols(isa) columns over all of K, one k after another; panels follow each other, and what
// lies past the last column or the last k is zero. A 4-byte word is one column of one k (f32), of a pair (bf16) or of
// four k (fp8), the first of them in the lowest bits.
//
// Panels of 32 columns spread the bits of the four codes c0 .. c3 over a word, so that a pair of them is a few
// instructions away from two bf16 of 2^-8 times their value: c0 in the lower half and c1 in the upper one have the sign
// in bit 15 and the rest in bits 10..4; c2 and c3 have their exponent in bits 14..11, their fraction in bits 2..0, and
// the sign in bit 3 of the other's half. Subnormal codes need more: behind its lines such a panel has a word of marks
// for every chunk of kFp8Block k, bit i for the codes of its line i.
//
// int8 and int4 come in groups of kIntegerGroup k that share a scale per column, value = scale * q. A panel is a list
// of groups; a group is W scales (FP16) and then its words, a column each: int8 q + 128 of four k to a word; int4 q + 8
// of eight k to a word, k 0..3 in the lower halves of its bytes, k 4..7 in the upper ones.
#pragma once
#include "kernels/dispatch.h"

namespace hadal::kernels {

enum class PanelType : uint8_t { f32, bf16, fp8, int8, int4 };
const char* panel_type_name(PanelType type);  // "F32", "BF16", "FP8", "int8", "int4"

constexpr int64_t gemm_panel_cols(Isa isa) { return isa == Isa::avx2 || isa == Isa::reference ? 16 : 32; }

inline constexpr int64_t kIntegerGroup = 32, kFp8Block = 128;

static constexpr PanelType panel_type_of(DType type) {  // of elements f32, bf16 or f8_e4m3
  return type == DType::f32 ? PanelType::f32 : type == DType::bf16 ? PanelType::bf16 : PanelType::fp8;
}
static constexpr bool is_integer(PanelType type) { return type == PanelType::int8 || type == PanelType::int4; }
// k in a word: of the lines of a panel of floats and codes, or of a group.
static constexpr int64_t panel_word_depth(PanelType type) {
  switch (type) {
    case PanelType::f32: return 1;
    case PanelType::bf16: return 2;
    case PanelType::fp8:
    case PanelType::int8: return 4;
    case PanelType::int4: return 8;
  }
  return 1;
}
static constexpr int64_t integer_groups(int64_t k) { return (k + kIntegerGroup - 1) / kIntegerGroup; }
static constexpr int64_t integer_group_bytes(PanelType type, int64_t panel_cols) {
  return panel_cols * (2 + 4 * (kIntegerGroup / panel_word_depth(type)));
}

// Whether panels of this width spread codes; the words of their marks, which fill lines of a cache.
constexpr bool spreads_codes(int64_t panel_cols) { return panel_cols == 32; }
static constexpr int64_t mark_words(int64_t k) { return ((k + kFp8Block - 1) / kFp8Block + 15) / 16 * 16; }

// From one panel to the next.
static constexpr int64_t gemm_panel_stride(PanelType type, int64_t k, int64_t panel_cols) {
  if (is_integer(type)) return integer_groups(k) * integer_group_bytes(type, panel_cols);
  const int64_t depth = panel_word_depth(type), lines = (k + depth - 1) / depth;
  return 4 * (panel_cols * lines + (type == PanelType::fp8 && spreads_codes(panel_cols) ? mark_words(k) : 0));
}
static constexpr int64_t gemm_panel_bytes(PanelType type, int64_t k, int64_t n, int64_t panel_cols) {
  return (n + panel_cols - 1) / panel_cols * gemm_panel_stride(type, k, panel_cols);
}

// Element (k, n) of panels of f32, bf16, or fp8 that is not spread, in elements.
static inline int64_t gemm_panel_index(PanelType type, int64_t k, int64_t n, int64_t depth, int64_t panel_cols) {
  const int64_t per = panel_word_depth(type);
  return ((n / panel_cols * ((depth + per - 1) / per) + k / per) * panel_cols + n % panel_cols) * per + k % per;
}

struct PackPanels {
  const void* b = nullptr;  // element (k, n) lies b_row * k + b_col * n elements after it
  int64_t b_row = 0, b_col = 0, k = 0, n = 0;
  DType from = DType::bf16;          // of b: as the panels for f32, bf16 and fp8 (its codes); f32 or bf16 for integers
  PanelType type = PanelType::bf16;  // of the panels
  void* panels = nullptr;            // gemm_panel_bytes
  int64_t panel_cols = 0;
  Lane* lane = nullptr;
};
// Ordinary code: the format depends on the width of a panel alone, and a weight is packed once. Integers are rounded
// here, a group of a column at a time:
//   int8  scale = FP16(largest |value| / 127);              q = value / scale, to nearest even, in -127 .. 127
//   int4  scale = FP16(value of largest magnitude / -8);    q likewise, in -8 .. 7
// A group whose scale is zero becomes zeros; one with a NaN or an infinity has a NaN for its scale.
void pack_panels(const PackPanels& args);

// Code (k, n) of panels of fp8 `depth` deep (a test's way to read them).
uint8_t panel_code(const void* panels, int64_t k, int64_t n, int64_t depth, int64_t panel_cols);

// The values of one column's group as its panel holds them: to[kIntegerGroup], in the order of k (a test's and the
// reference's way to read them).
void integer_group_values(PanelType type, const uint8_t* group, int64_t column, int64_t panel_cols, int8_t* q,
                          float* scale);

}  // namespace hadal::kernels
