// Between tensors and FP8 codes, as layers use it; formulas and shapes in tensor/quantised.h. `cut`: x is a rank's part
// of a matrix (tensor/cut_matrix.h).
#pragma once
#include <cstdint>

#include "tensor/quantised.h"

namespace hadal::ops {

Quantised quantise(const Exec& exec, const Tensor& x, Tile tile, ScaleRule rule = ScaleRule::exact,
                   AmaxFloor floor = AmaxFloor::none, const CutMatrix* cut = nullptr);
// Codes in these tiles by this rule: those at hand where both agree, else made again from their values (1x128 to 128x1,
// §3.5). That loses nothing where both scales are powers of two; other codes are refused with internal, since rounding
// twice adds a third to their error: what is read in two tilings is kept in high precision.
Quantised quantise(const Exec& exec, const Activation& x, Tile tile, ScaleRule rule = ScaleRule::exact,
                   const CutMatrix* cut = nullptr);
// What such codes are made from: the tensor, or the values of codes, refused likewise.
Tensor values_for_codes(const Exec& exec, const Activation& x, Tile tile, ScaleRule rule);
Quantised quantise_e5m6(const Exec& exec, const Tensor& x, const CutMatrix* cut = nullptr);
// The tensor itself, or the values of the codes, in their source's dtype.
Tensor dequantise(const Exec& exec, const Activation& x);
// y[i] = x[index[i]]; of codes with row tiles, codes and scales travel together.
Activation gather_rows(const Exec& exec, const Activation& x, const Tensor& index);
// dst[index[i]] = src[i]: no two indexes may be equal. Both tensors, or both codes with the same row tiles.
void put_rows(const Exec& exec, const Activation& dst, const Activation& src, const Tensor& index);

}  // namespace hadal::ops
