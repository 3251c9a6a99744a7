// Panels: the right operand of a product, packed once in the order in which the product of an instruction set reads it,
// for weights that meet a few rows at a time (decoding), where packing at every call costs more than multiplying.
//
// A panel holds W = gemm_panel_cols(isa) columns over all of K, one k after another; panels follow each other, and what
// lies past the last column is zero. bf16 comes in pairs (k, k+1), so that a 4-byte word is one column of two k; an odd
// last k has zero beside it. Element (k, n) of B[K, N]:
//   f32   ((n / W) * K + k) * W + n % W
//   bf16  (((n / W) * ceil(K / 2) + k / 2) * W + n % W) * 2 + k % 2
#pragma once
#include "kernels/dispatch.h"

namespace hadal::kernels {

constexpr int64_t gemm_panel_cols(Isa isa) { return isa == Isa::avx2 || isa == Isa::reference ? 16 : 32; }

static inline int64_t gemm_panel_elements(DType type, int64_t k, int64_t n, int64_t panel_cols) {
  const int64_t depth = type == DType::bf16 ? (k + 1) / 2 * 2 : k;
  return (n + panel_cols - 1) / panel_cols * panel_cols * depth;
}

static inline int64_t gemm_panel_index(DType type, int64_t k, int64_t n, int64_t depth, int64_t panel_cols) {
  if (type != DType::bf16) return (n / panel_cols * depth + k) * panel_cols + n % panel_cols;
  return ((n / panel_cols * ((depth + 1) / 2) + k / 2) * panel_cols + n % panel_cols) * 2 + k % 2;
}

struct PackPanels {
  const void* b = nullptr;  // element (k, n) lies b_row * k + b_col * n elements after it
  int64_t b_row = 0, b_col = 0, k = 0, n = 0;
  DType type = DType::bf16;  // f32 or bf16
  void* panels = nullptr;    // gemm_panel_elements
  int64_t panel_cols = 0;
  Lane* lane = nullptr;
};
// Ordinary code: the format depends on the width of a panel alone, and a weight is packed once.
void pack_panels(const PackPanels& args);

}  // namespace hadal::kernels
