// Products of rows of 8-bit integers with panels of int8 or int4 weights (gemm_panels.h), a list of them of one form:
//   C[m,n] (+)= sum over groups g of kIntegerGroup k, ascending, of  dot[m,n,g] * (sx[m,g] * sw[n,g])
//   dot[m,n,g] = sum over k in g of qx[m,k] * qw[n,k]                                       exact, in 32-bit integers
// One FP32 multiply-add per group joins the total, which begins with 0 or C and is rounded to C's type at the end: m,
// n, threads, neighbours and the instruction set change nothing.
#pragma once
#include "kernels/integer_rows.h"

namespace hadal::kernels {

struct IntegerProduct {
  const IntegerGroup* a = nullptr;  // [m][integer_groups(k)]
  const void* b = nullptr;          // panels of [k, n] for the instruction set
  void* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
};

struct IntegerGemm {
  const IntegerProduct* products = nullptr;
  int64_t n_products = 0;
  PanelType type = PanelType::int8;  // or int4
  DType c_type = DType::f32;         // f32 or bf16
  int64_t c_row = 0;                 // in elements; columns are contiguous
  bool add = false;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(integer_gemm, IntegerGemm)

}  // namespace hadal::kernels
