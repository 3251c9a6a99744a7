// Rotary embedding in place (§1.4, interleaved): pair (2i, 2i+1) of each head times (cos_i + i sin_i) of the row's
// position.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct Rope {
  Rows x;  // first element = rope part of head 0
  int64_t rows = 0, n_heads = 1, head_stride = 0, d_rope = 0;
  const void* table = nullptr;  // [positions, d_rope]: cos_0, sin_0, cos_1, sin_1 ...; f32 (f64 for f64 rows)
  int64_t table_stride = 0;
  const int32_t* positions = nullptr;  // [rows]
  bool inverse = false;                // multiply by the conjugate
  Lane* lane = nullptr;
};

// table[p] = cos(p f_0), sin(p f_0), cos(p f_1) ..., each times the multiplier; computed in FP64, once per model.
struct RopeTable {
  Rows table;  // [positions, 2 * n_frequencies] f32 or f64
  const double* frequencies = nullptr;
  int64_t positions = 0, n_frequencies = 0;
  double multiplier = 1;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(rope, Rope)
HADAL_DECLARE_FORMULA(rope_table, RopeTable)

}  // namespace hadal::kernels
