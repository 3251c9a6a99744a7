// Rows of activations as 8-bit integers, for products with int8 and int4 weights (integer_gemm.h): each group of
// kIntegerGroup columns has its own scale,
//   scale = largest |x| / 127;   q = x / scale, to nearest even;   sum = q_0 + q_1 + ...
// A group of zeros has scale 0. One with a NaN or an infinity has a NaN for its scale and zeros for its codes, so that
// what is made of it is a NaN. Columns past the last are zeros.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels {

struct IntegerGroup {
  int8_t q[kIntegerGroup];
  float scale;
  int32_t sum;
};

struct IntegerRows {
  Rows x;  // [rows, cols] f32 or bf16
  int64_t rows = 0, cols = 0;
  IntegerGroup* to = nullptr;  // [rows][integer_groups(cols)]
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(integer_rows, IntegerRows)

}  // namespace hadal::kernels
