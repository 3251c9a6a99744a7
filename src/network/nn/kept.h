// What a flight keeps of an activation for its backward (§3.5, Recipe): values, or codes in tiles of 1 x 128. Backward
// always reads what such codes stand for, also where recomputation has the values: so gradients do not depend on it.
#pragma once
#include "nn/recipe.h"

namespace hadal {

// Values: x itself. `cut`: x are a rank's part of the columns (tensor/cut_matrix.h).
Activation keep(const Exec& exec, const Tensor& x, Kept form, ScaleRule rule, const CutMatrix* cut = nullptr);
int64_t kept_bytes(Kept form, int64_t rows, int64_t cols, DType dtype, ScaleRule rule);

// Gate and up of a SwiGLU, whose values lie side by side in [rows, 2F], as codes: in tiles of their own, none of which
// crosses from gate into up.
struct SwigluCodes {
  Activation gate, up;
  explicit operator bool() const { return bool(gate); }
};
// Codes take the values' place; values kept as such stay. `cut`: of the columns of each.
void keep(const Exec& exec, Kept form, Tensor& gate_up, SwigluCodes& codes, const CutMatrix* cut = nullptr);
void restore(const Exec& exec, Tensor& gate_up, SwigluCodes& codes);  // and back: rounded; nothing without codes

}  // namespace hadal
