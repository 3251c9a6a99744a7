// Row-wise and element-wise operations of the model. Activations f64 / f32 / bf16 / f16; inner arithmetic FP32 (FP64
// for f64). Sums over rows (weight gradients) run in fixed chunks of 128 rows, chunk sums added in order: no dependence
// on threads.
#pragma once
#include <cstdint>
#include <span>

#include "base/exact_sum.h"
#include "ops/write.h"
#include "tensor/tensor.h"

namespace hadal::ops {

// RMSNorm: y = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps), per row. w f32 (f64). rstd [rows] f32 (f64) is kept for
// backward. x and y may be column views. y may have another dtype than x.
void rms_norm(const Exec& exec, const Tensor& y, const Tensor& rstd, const Tensor& x, const Tensor& w, double eps);
// dx = rstd * (w dy - x * rstd^2 * mean(w dy x)); add: dx += (the residual stream's gradient)
void rms_norm_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& w,
                             const Tensor& rstd, bool add);
void rms_norm_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x, const Tensor& rstd,
                              Write write = Write::add);

// Rotates pairs (2i, 2i+1) of each head's d_rope elements in place (§1.4): (a + ib) * (cos + i sin)(position). x is a
// view whose first element is the rope part of head 0; heads head_stride elements apart. table [positions, d_rope]
// f32/f64: row p holds cos_0, sin_0, cos_1, sin_1 ... inverse: rotates back (the backward).
struct RopeArgs {
  Tensor x;
  int64_t n_heads = 1, head_stride = 0, d_rope = 0;
  Tensor table;
  Tensor positions;  // [rows] i32
  bool inverse = false;
};
void rope(const Exec& exec, const RopeArgs& args);

// The table: row p holds cos and sin of p * frequencies[i], times multiplier. table [positions, 2 * frequencies] f32
// (f64).
void rope_table(const Exec& exec, const Tensor& table, std::span<const double> frequencies, double multiplier);

// SwiGLU: h = silu(g) * u. Inputs [rows, F] views. Backward writes dg, du from dh, g, u (may overwrite g, u in place).
void swiglu(const Exec& exec, const Tensor& h, const Tensor& g, const Tensor& u);
void swiglu_backward(const Exec& exec, const Tensor& dg, const Tensor& du, const Tensor& dh, const Tensor& g,
                     const Tensor& u);

// SwiGLU's backward in one pass, in place, for rows whose outputs are weighted by the router (weight empty: not
// weighted): with h = silu(g) * u: dweight[r] = dh . h; g, u := their gradients of weight[r] dh; dh := weight[r] h, the
// operand of the down projection's weight gradient. One dtype for dh, g, u; weights f32 (f64).
struct SwigluWeightedArgs {
  Tensor dh, g, u;         // [rows, F], overwritten
  Tensor weight, dweight;  // [rows]
};
void swiglu_weighted_backward(const Exec& exec, const SwigluWeightedArgs& args);

// In-place cross-entropy of a chunk of rows (§2.4, HAI-LLM's in-place form): loss[r] = logsumexp(logits[r]) - logits[r,
// target[r]]; with gradient: logits[r] := (softmax(logits[r]) - onehot(target)) * scale. target -1: loss 0, gradient
// row 0. logits f64/f32/bf16/f16 [rows, V]; loss [rows] f32 (f64).
void cross_entropy(const Exec& exec, const Tensor& logits, const Tensor& targets, double scale, const Tensor& loss,
                   bool gradient);

// Embedding: y[t] = w[ids[t]]; backward dw[ids[t]] (+)= dy[t] in row order (dw f32/f64), parallel over columns or
// vocabulary.
void embedding(const Exec& exec, const Tensor& y, const Tensor& w, const Tensor& ids);
void embedding_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& ids,
                               Write write = Write::add);

void add(const Exec& exec, const Tensor& y, const Tensor& a, const Tensor& b);  // y = a + b (y may be a or b)
void add_to(const Exec& exec, const Tensor& y, const Tensor& x);                // y += x, dtypes may differ
void shift(const Exec& exec, const Tensor& y, const std::vector<double>& by);   // y += by, in FP64; F32 or F64
void scale(const Exec& exec, const Tensor& y, double factor);                   // y *= factor
void copy(const Exec& exec, const Tensor& y, const Tensor& x);                  // converts dtype, strided views
// Exact sums where kernels run, I64 [n, words of an ExactSum], zero; one of them for the host.
Tensor exact_sums(const Exec& exec, int64_t n);
ExactSum exact_sum(const Tensor& sums_on_host, int64_t which);
// sum += x^2 over all elements, in FP64: lines of 128 columns in a fixed pattern, then exactly (kernels/elementwise.h).
// sum: a row of exact_sums().
void add_squares(const Exec& exec, const Tensor& x, const Tensor& sum);
double sum_of_squares(const Exec& exec, const Tensor& x);  // waits for a device, as the next
bool all_finite(const Exec& exec, const Tensor& x);
// dst[i] = src[index[i]] (rows); dst must not alias src. Here and in put_rows both may be FP8 codes.
void gather_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index);
// dst[index[i]] = src[i] (rows): no two indexes may be equal
void put_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index);

// dst[index[i]] += src[i] (rows), i ascending: repeated indexes add in order; index i32, dtypes may differ
void add_rows(const Exec& exec, const Tensor& dst, const Tensor& src, const Tensor& index);

// AdamW, fused (decoupled decay): m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr * (m_hat / (sqrt(v_hat) + eps) +
// decay * w). w master f32 (f64), grad f32 (f64) times grad_scale (clipping), m, v f32 or bf16 (f64); value: compute
// copy to refresh (bf16, f16), or empty when master is the compute weight. ema: f32 or empty, ema = d ema + (1-d) w.
struct AdamWArgs {
  Tensor w, grad, m, v, value, ema;
  double lr, beta1, beta2, eps, weight_decay, grad_scale, ema_decay;
  int64_t step;  // 1-based, for the bias correction
};
void adamw(const Exec& exec, const AdamWArgs& args);

}  // namespace hadal::ops
