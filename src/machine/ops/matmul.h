// Matrix products. Weights are stored [out, in]; activations [rows, features]. dtypes: f64 (reference kernels), f32,
// bf16, f16, or a mix of either and f32 operands (then multiplied in f32). Outputs f64/f32/bf16/f16; accumulation FP32
// (FP64 for f64). Bit contract: every sum over K runs ascending in chunks of 128, chunk sums added in order, so a row's
// result does not depend on M, threads or neighbours. Operands may be strided views (Tensor::row_stride).
#pragma once
#include <cstdint>
#include <span>

#include "kernels/scaled_gemm.h"
#include "ops/write.h"
#include "tensor/weight.h"

namespace hadal::ops {

// y[M,N] = x[M,K] w[N,K]^T
void linear(const Exec& exec, const Tensor& y, const Tensor& x, const Tensor& w, Write write = Write::overwrite);
// dx[M,K] = dy[M,N] w[N,K]
void linear_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& w,
                           Write write = Write::overwrite);
// dw[N,K] (+)= dy[M,N]^T x[M,K]; dw is f32 (f64 for f64 operands)
void linear_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x,
                            Write write = Write::add);

// Grouped forms for experts: rows offsets[e] .. offsets[e+1] belong to expert e; w[E,N,K]. Groups may be empty.
void grouped_linear(const Exec& exec, const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& offsets,
                    Write write = Write::overwrite);
void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& w,
                                   const Tensor& offsets, Write write = Write::overwrite);
void grouped_linear_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x,
                                    const Tensor& offsets, Write write = Write::add);

// Per-head products of the absorbed form: for each h, C_h[M,N] = A_h[M,K] op(B_h), where X_h starts h * x_head_stride
// elements after X's first element and rows keep X.row_stride(). transpose_b: B_h is [N,K], else [K,N].
// transpose_a: A_h is [K,M] (weight gradients; then C is f32/f64 and usually Write::add).
// Instead of b, panels of the heads' matrices as a weight keeps them (ops/weight.h), with the same bits; there is no
// transpose_a then, and transpose_b says nothing.
struct HeadMatmul {
  Tensor c, a, b;  // give each as a 2-D view of head 0: c[M,N], a[M,K] or [K,M], b[K,N] or [N,K]
  const Panels* panels = nullptr;
  int64_t n_heads = 1;
  int64_t c_head_stride = 0, a_head_stride = 0, b_head_stride = 0;  // in elements
  bool transpose_a = false, transpose_b = false;
  Write write = Write::overwrite;
};
void head_matmul(const Exec& exec, const HeadMatmul& args);

// The same products of activations and weights that may be FP8 codes (§3.5). Both codes: multiplied as codes, chunk by
// chunk of the tiles along the summed dimension, which must agree (kernels/scaled_gemm.h; results f32 or bf16), summed
// in FP32 or as Hopper's tensor cores do. One of them: it is dequantised into a workspace first. None: the functions
// above.
using kernels::Accumulation;
void linear(const Exec& exec, const Tensor& y, const Activation& x, const Activation& w, Write write = Write::overwrite,
            Accumulation accumulation = Accumulation::fp32);
void linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Activation& w,
                           Write write = Write::overwrite, Accumulation accumulation = Accumulation::fp32);
void linear_backward_weight(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                            Write write = Write::add, Accumulation accumulation = Accumulation::fp32);
void grouped_linear(const Exec& exec, const Tensor& y, const Activation& x, const Activation& w, const Tensor& offsets,
                    Write write = Write::overwrite, Accumulation accumulation = Accumulation::fp32);
void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Activation& w,
                                   const Tensor& offsets, Write write = Write::overwrite,
                                   Accumulation accumulation = Accumulation::fp32);
// Tiles over tokens begin at a group's first row, which no Quantised of all rows can say: each group becomes codes
// here, in tiles of `tile`.
struct TokenTiles {
  Tile tile = kColumnTile;
  ScaleRule dy = ScaleRule::exact, x = ScaleRule::exact;
};
void grouped_linear_backward_weight(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                                    const Tensor& offsets, const TokenTiles& tiles, Write write = Write::add,
                                    Accumulation accumulation = Accumulation::fp32);

}  // namespace hadal::ops
