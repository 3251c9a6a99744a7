// Products of FP8 codes: which tiles meet along the summed dimension, and the strides of the kernel. On the CPU's
// vectors, codes whose scales hold for kGemmChunk elements are widened to bf16 once, exactly, and multiplied as such
// with their scales (kernels/gemm.h). Of finer tiles whose scales are powers of two, as those of MX, values are
// multiplied, which bf16 holds exactly: the scaled products, summed in the order of BF16's (values below 2^-126, of
// tiles whose maximum is below 2^-108, are zero where such products flush them; one that rounds up to 2^128 is
// infinite). Other tiles, the formulas and devices have a kernel of codes, as have sums in Hopper's way. Shapes are
// checked where plain tensors are (matmul.cpp) or here.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/fp8_tiles.h"
#include "kernels/scaled_gemm.h"
#include "ops/gemm_call.h"
#include "ops/kernel_rows.h"
#include "ops/matmul.h"
#include "ops/quantise.h"

namespace hadal::ops {
namespace {

using kernels::ScaledGemm;
using kernels::ScaledOperand;

// A matrix of codes as the kernel sees it: over its rows (i) and columns (k), or the other way round.
ScaledOperand operand(const Quantised& q, bool sum_rows) {
  const int64_t row = q.codes.row_stride(), scale_row = q.scales.row_stride();
  const auto* codes = static_cast<const uint8_t*>(q.codes.raw());
  const auto* scales = static_cast<const float*>(q.scales.raw());
  if (sum_rows) return {codes, scales, 1, row, 1, scale_row, q.tile.cols};
  return {codes, scales, row, 1, scale_row, 1, q.tile.rows};
}

struct Form {
  const char* op;
  bool a_sums_rows, b_sums_rows;
  Write write;
  Accumulation accumulation;
};

// Checks c = a b, summing columns or rows of each; returns the summed elements that share a scale.
int64_t check_product(const Form& form, const Tensor& c, const Quantised& a, const Quantised& b) {
  const int64_t m = form.a_sums_rows ? a.cols() : a.rows(), k = form.a_sums_rows ? a.rows() : a.cols();
  const int64_t n = form.b_sums_rows ? b.cols() : b.rows(), b_k = form.b_sums_rows ? b.rows() : b.cols();
  check(k == b_k && c.rows() == m && c.cols() == n, ErrorKind::internal, "{}: codes of {} and {} do not make {}",
        form.op, shape_text(a.codes.shape()), shape_text(b.codes.shape()), shape_text(c.shape()));
  check(!a.is_e5m6() && !b.is_e5m6(), ErrorKind::internal, "{}: E5M6 codes are kept, not multiplied", form.op);
  const int64_t chunk = form.a_sums_rows ? a.tile.rows : a.tile.cols;
  const int64_t b_chunk = form.b_sums_rows ? b.tile.rows : b.tile.cols;
  check(chunk == b_chunk && chunk <= kernels::kGemmChunk, ErrorKind::internal,
        "{}: scales change every {} and every {} of the summed elements, must agree and be at most {}", form.op, chunk,
        b_chunk, kernels::kGemmChunk);
  check(c.dtype() == DType::f32 || c.dtype() == DType::bf16, ErrorKind::internal,
        "{}: the product of FP8 codes is F32 or BF16, not {}", form.op, dtype_name(c.dtype()));
  return chunk;
}

// What is multiplied: codes, by their kernel; codes in bf16 with scales beside; values in bf16.
enum class Operands { codes, widened, values };
Operands operands_of(const Exec& exec, const Form& form, const Quantised& a, const Quantised& b) {
  if (exec.device.kind != DeviceKind::cpu || exec.isa == Isa::reference || form.accumulation != Accumulation::fp32)
    return Operands::codes;
  const int64_t chunk = form.a_sums_rows ? a.tile.rows : a.tile.cols;
  if (chunk == kernels::kGemmChunk) return Operands::widened;
  return a.powers_of_two() && b.powers_of_two() ? Operands::values : Operands::codes;
}

// Kernels that are given scales take them in FP32.
Quantised scales_as_read(const Exec& exec, Operands of, const Quantised& q) {
  return of == Operands::values ? q : q.with_wide_scales(exec);
}

// Codes as bf16, exactly, without their scales; a stack as one matrix.
Tensor widened(const Exec& exec, const Tensor& codes) {
  static float one = 1.0f;
  constexpr int64_t kRowsOfATask = 8;
  const Tensor values = Tensor::empty(exec, DType::bf16, {codes.rows(), codes.cols()});
  kernels::Fp8Tiles args;
  args.values = kernel_rows(values, "widened codes");
  args.codes = static_cast<uint8_t*>(codes.raw());
  args.codes_stride = codes.row_stride();
  args.scales = &one;
  args.rows = codes.rows();
  args.cols = args.tile_cols = codes.cols();
  args.tile_rows = kRowsOfATask;
  args.lane = exec.compute;
  kernels::fp8_decode(kernels::twin(exec, false), args);
  return values;
}

// Codes times their scales, exactly.
Tensor values_in_bf16(const Exec& exec, const Quantised& q) {
  const Tensor values = Tensor::empty(exec, DType::bf16, q.codes.shape());
  dequantise(exec, values, q);
  return values.view({q.codes.rows(), q.codes.cols()});
}

kernels::ChunkScales chunk_scales(const Quantised& q, bool sum_rows) {
  const ScaledOperand o = operand(q, sum_rows);
  return {o.scales, o.scale_row, o.scale_col, o.tile};
}

kernels::ProductScales product_scales(const Form& form, const Quantised& a, const Quantised& b) {
  return {chunk_scales(a, form.a_sums_rows), chunk_scales(b, form.b_sums_rows)};
}

// c = a b, summing columns or rows of each.
void run(const Exec& exec, const Form& form, const Tensor& c, const Quantised& left, const Quantised& right) {
  const int64_t chunk = check_product(form, c, left, right);
  const Operands of = operands_of(exec, form, left, right);
  const Quantised a = scales_as_read(exec, of, left), b = scales_as_read(exec, of, right);
  if (of != Operands::codes) {
    const auto wide = [&](const Quantised& q) {
      return of == Operands::values ? values_in_bf16(exec, q) : widened(exec, q.codes);
    };
    const Tensor wide_a = wide(a), wide_b = wide(b);
    const kernels::GemmProduct product{wide_a.raw(), wide_b.raw(), c.raw(),
                                       c.rows(),     c.cols(),     form.a_sums_rows ? a.rows() : a.cols()};
    kernels::ProductScales scales;
    GemmForm gemm{form.op, c, wide_a, wide_b, form.a_sums_rows, !form.b_sums_rows, form.write};
    if (of == Operands::widened) scales = product_scales(form, a, b), gemm.scales = &scales;
    return run_gemm(exec, gemm, &product, 1);
  }
  ScaledGemm args;
  args.a = operand(a, form.a_sums_rows);
  args.b = operand(b, form.b_sums_rows);
  args.c = c.raw();
  args.c_type = c.dtype();
  args.c_row = c.row_stride();
  args.m = c.rows();
  args.n = c.cols();
  args.k = form.a_sums_rows ? a.rows() : a.cols();
  args.chunk = chunk;
  args.add = form.write == Write::add;
  args.lane = exec.compute;
  if (form.accumulation == Accumulation::fp32) return kernels::scaled_gemm(kernels::twin(exec, false), args);
  kernels::tensor_core_gemm(kernels::twin(exec, false), {args, form.accumulation == Accumulation::hopper});
}

bool both_codes(const Activation& a, const Activation& b) { return a.is_quantised() && b.is_quantised(); }

// Rows offsets[e] .. offsets[e+1] of c and a with matrix e of the stack b.
void run_groups(const Exec& exec, const Form& form, const Tensor& c, const Quantised& left, const Quantised& right,
                const Tensor& offsets) {
  const Operands of = operands_of(exec, form, left, right);
  const Quantised a = scales_as_read(exec, of, left), b = scales_as_read(exec, of, right);
  check(b.codes.shape().size() == 3, ErrorKind::internal, "{}: weights are {}, must be [experts, out, in]", form.op,
        shape_text(b.codes.shape()));
  const int64_t groups = b.codes.dim(0);
  const Tensor host_offsets = host_copy(offsets);  // on a device a wait: a product takes one pair of matrices
  const int32_t* begins = group_offsets(form.op, host_offsets, groups, a.rows());
  if (of == Operands::codes) {
    each_group(begins, groups, [&](int64_t e, int64_t first, int64_t rows) {
      run(exec, form, c.row_range(first, rows), a.row_range(first, rows), b.slice(e));
    });
    return;
  }
  // A few experts at a time: all of them widened would be what codes are to save.
  constexpr int64_t kWidened = int64_t(1) << 20;  // elements
  const int64_t matrix = b.codes.dim(1) * b.codes.dim(2), at_once = std::max<int64_t>(1, kWidened / matrix);
  for (int64_t begin = 0; begin < groups; begin += at_once) {
    const int64_t end = std::min(groups, begin + at_once);
    const int64_t first_row = begins[begin], n_rows = begins[end] - first_row;
    if (n_rows == 0) continue;
    const Quantised rows_of_a = a.row_range(first_row, n_rows), matrices = b.slices(begin, end - begin);
    const bool values = of == Operands::values;
    const Tensor wide_a = values ? values_in_bf16(exec, rows_of_a) : widened(exec, rows_of_a.codes);
    const Tensor wide_b = values ? values_in_bf16(exec, matrices) : widened(exec, matrices.codes);
    GemmProducts products(exec, end - begin);
    std::vector<kernels::ProductScales> scales;
    each_group(begins + begin, end - begin, [&](int64_t e, int64_t first, int64_t rows) {
      const Tensor c_rows = c.row_range(first, rows);
      const Quantised a_rows = a.row_range(first, rows), b_of_e = b.slice(begin + e);
      check_product(form, c_rows, a_rows, b_of_e);
      if (!values) scales.push_back(product_scales(form, a_rows, b_of_e));
      products.add({element_address(wide_a, (first - first_row) * wide_a.row_stride()),
                    element_address(wide_b, e * matrix), c_rows.raw(), rows, c.cols(), a.cols()});
    });
    GemmForm gemm{form.op, c, wide_a, wide_b, form.a_sums_rows, !form.b_sums_rows, form.write};
    if (!values) gemm.scales = scales.data();
    run_gemm(exec, gemm, products);
  }
}

}  // namespace

void linear(const Exec& exec, const Tensor& y, const Activation& x, const Activation& w, Write write,
            Accumulation accumulation) {
  if (both_codes(x, w))
    return run(exec, {"linear", false, false, write, accumulation}, y, x.quantised(), w.quantised());
  linear(exec, y, dequantise(exec, x), dequantise(exec, w), write);
}

void linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Activation& w, Write write,
                           Accumulation accumulation) {
  if (both_codes(dy, w))
    return run(exec, {"linear_backward_input", false, true, write, accumulation}, dx, dy.quantised(), w.quantised());
  linear_backward_input(exec, dx, dequantise(exec, dy), dequantise(exec, w), write);
}

void linear_backward_weight(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x, Write write,
                            Accumulation accumulation) {
  if (both_codes(dy, x)) {
    check(dw.dtype() == DType::f32, ErrorKind::internal, "linear_backward_weight: the gradient is {}, must be F32",
          dtype_name(dw.dtype()));
    return run(exec, {"linear_backward_weight", true, true, write, accumulation}, dw, dy.quantised(), x.quantised());
  }
  linear_backward_weight(exec, dw, dequantise(exec, dy), dequantise(exec, x), write);
}

void grouped_linear(const Exec& exec, const Tensor& y, const Activation& x, const Activation& w, const Tensor& offsets,
                    Write write, Accumulation accumulation) {
  if (both_codes(x, w))
    return run_groups(exec, {"grouped_linear", false, false, write, accumulation}, y, x.quantised(), w.quantised(),
                      offsets);
  grouped_linear(exec, y, dequantise(exec, x), dequantise(exec, w), offsets, write);
}

void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Activation& w,
                                   const Tensor& offsets, Write write, Accumulation accumulation) {
  if (both_codes(dy, w))
    return run_groups(exec, {"grouped_linear_backward_input", false, true, write, accumulation}, dx, dy.quantised(),
                      w.quantised(), offsets);
  grouped_linear_backward_input(exec, dx, dequantise(exec, dy), dequantise(exec, w), offsets, write);
}

void grouped_linear_backward_weight(const Exec& exec, const Tensor& dw, const Activation& dy, const Activation& x,
                                    const Tensor& offsets, const TokenTiles& tiles, Write write,
                                    Accumulation accumulation) {
  check(dw.shape().size() == 3, ErrorKind::internal, "grouped_linear_backward_weight: the gradient is {}",
        shape_text(dw.shape()));
  const Tensor host_offsets = host_copy(offsets);
  const int32_t* begins = group_offsets("grouped_linear_backward_weight", host_offsets, dw.dim(0), dy.rows());
  for (int64_t e = 0; e < dw.dim(0); ++e) {
    const int64_t first = begins[e], rows = begins[e + 1] - first;
    if (rows == 0) {
      if (write == Write::overwrite) dw.slice(e).zero(exec);
      continue;
    }
    linear_backward_weight(exec, dw.slice(e), quantise(exec, dy.row_range(first, rows), tiles.tile, tiles.dy),
                           quantise(exec, x.row_range(first, rows), tiles.tile, tiles.x), write, accumulation);
  }
}

}  // namespace hadal::ops
