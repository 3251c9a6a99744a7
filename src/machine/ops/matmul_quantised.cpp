// Products of FP8 codes: which tiles meet along the summed dimension, and the strides of the kernel. On the CPU's
// vectors, the packed product multiplies codes whose scales hold for kGemmChunk elements (kernels/gemm.h). Of finer
// tiles whose scales are powers of two, as those of MX, values are multiplied, which bf16 holds exactly: the scaled
// products, summed in the order of BF16's (values below 2^-126, of tiles whose maximum is below 2^-108, are zero where
// such products flush them; one that rounds up to 2^128 is infinite). Other tiles, the formulas and devices have a
// kernel of codes, as have sums in Hopper's way. Shapes are checked where plain tensors are (matmul.cpp) or here.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
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

int64_t summed_of(const Form& form, const Quantised& a) { return form.a_sums_rows ? a.rows() : a.cols(); }
GemmForm gemm_form(const Form& form, const Tensor& c, const Tensor& a, const Tensor& b) {
  return {form.op, c, a, b, form.a_sums_rows, !form.b_sums_rows, form.write};
}

// Checks c = a b, summing columns or rows of each; returns the summed elements that share a scale.
int64_t check_product(const Form& form, const Tensor& c, const Quantised& a, const Quantised& b) {
  const int64_t m = form.a_sums_rows ? a.cols() : a.rows(), k = summed_of(form, a);
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

// What is multiplied: codes, by their kernel; codes, packed, with scales beside; values in bf16.
enum class Operands { codes, packed, values };
bool takes_vectors(const Exec& exec, const Form& form) {
  return exec.device.kind == DeviceKind::cpu && exec.isa != Isa::reference && form.accumulation == Accumulation::fp32;
}
Operands operands_of(const Exec& exec, const Form& form, const Quantised& a, const Quantised& b) {
  if (!takes_vectors(exec, form)) return Operands::codes;
  if ((form.a_sums_rows ? a.tile.rows : a.tile.cols) == kernels::kGemmChunk) return Operands::packed;
  return a.powers_of_two() && b.powers_of_two() ? Operands::values : Operands::codes;
}

// Kernels that are given scales take them in FP32.
Quantised scales_as_read(const Exec& exec, Operands of, const Quantised& q) {
  return of == Operands::values ? q : q.with_wide_scales(exec);
}

// Codes times their scales, exactly; a stack as one matrix.
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

// c = a b, summing columns or rows of each, of operands whose tiles begin where they do.
void run_aligned(const Exec& exec, const Form& form, const Tensor& c, const Quantised& left, const Quantised& right) {
  const int64_t chunk = check_product(form, c, left, right);
  const Operands of = operands_of(exec, form, left, right);
  const Quantised a = scales_as_read(exec, of, left), b = scales_as_read(exec, of, right);
  const int64_t summed = summed_of(form, a);
  if (of == Operands::packed) {
    const kernels::ProductScales scales = product_scales(form, a, b);
    GemmForm gemm = gemm_form(form, c, a.codes, b.codes);
    gemm.scales = &scales;
    return run_gemm(exec, gemm, c.rows(), c.cols(), summed);
  }
  if (of == Operands::values) {
    const Tensor wide_a = values_in_bf16(exec, a), wide_b = values_in_bf16(exec, b);
    return run_gemm(exec, gemm_form(form, c, wide_a, wide_b), c.rows(), c.cols(), summed);
  }
  ScaledGemm args;
  args.a = operand(a, form.a_sums_rows);
  args.b = operand(b, form.b_sums_rows);
  args.c = c.raw();
  args.c_type = c.dtype();
  args.c_row = c.row_stride();
  args.m = c.rows();
  args.n = c.cols();
  args.k = summed;
  args.chunk = chunk;
  args.add = form.write == Write::add;
  args.lane = exec.compute;
  if (form.accumulation == Accumulation::fp32) return kernels::scaled_gemm(kernels::twin(exec, false), args);
  kernels::tensor_core_gemm(kernels::twin(exec, false), {args, form.accumulation == Accumulation::hopper});
}

// Of one matrix.
Quantised range(const Quantised& q, bool rows, int64_t first, int64_t count) {
  return rows ? q.row_range(first, count) : q.col_range(first, count);
}
int64_t within_tile(const Quantised& q, bool rows) { return rows ? q.origin.rows : q.origin.cols; }

// Operands that begin inside of a tile, as parts of a cut matrix do: the first tile's part and the rest are products of
// their own, of the summed dimension one added to the other, so each chunk's sum joins the total as those of the whole
// matrix do.
void run(const Exec& exec, const Form& form, const Tensor& c, const Quantised& a, const Quantised& b) {
  if (a.origin == TileOrigin() && b.origin == TileOrigin()) return run_aligned(exec, form, c, a, b);
  const int64_t chunk = check_product(form, c, a, b), k = summed_of(form, a);
  const int64_t within = within_tile(a, form.a_sums_rows);
  check(within == within_tile(b, form.b_sums_rows) && within_tile(a, !form.a_sums_rows) == 0, ErrorKind::internal,
        "{}: operands begin at {} and {} of the tiles that are summed", form.op, within,
        within_tile(b, form.b_sums_rows));
  if (within > 0) {
    const int64_t first = std::min(k, chunk - within);
    check(first == k || c.dtype() == DType::f32, ErrorKind::internal, "{}: a sum in two parts is F32, not {}", form.op,
          dtype_name(c.dtype()));
    Form more = form;
    const auto part = [&](int64_t begin, int64_t count) {
      Quantised x = range(a, form.a_sums_rows, begin, count), w = range(b, form.b_sums_rows, begin, count);
      (form.a_sums_rows ? x.origin.rows : x.origin.cols) = 0;
      (form.b_sums_rows ? w.origin.rows : w.origin.cols) = 0;
      run(exec, more, c, x, w);
    };
    part(0, first);
    more.write = Write::add;
    if (first < k) part(first, k - first);
    return;
  }
  const bool rows = !form.b_sums_rows;
  const int64_t n = c.cols(), first = std::min(n, (rows ? b.tile.rows : b.tile.cols) - within_tile(b, rows));
  Quantised front = range(b, rows, 0, first);
  front.origin = {};
  run_aligned(exec, form, c.col_range(0, first), a, front);
  if (first < n) run_aligned(exec, form, c.col_range(first, n - first), a, range(b, rows, first, n - first));
}

bool both_codes(const Activation& a, const Activation& b) { return a.is_quantised() && b.is_quantised(); }

// Rows of each group of c and a with its matrix of the stack b, a few experts at a time: values of all of them would
// be what codes are to save.
void run_groups_of_values(const Exec& exec, const Form& form, const Tensor& c, const Quantised& a, const Quantised& b,
                          const int32_t* begins) {
  constexpr int64_t kWidened = int64_t(1) << 20;  // elements
  const int64_t groups = b.codes.dim(0), matrix = b.codes.dim(1) * b.codes.dim(2);
  const int64_t at_once = std::max<int64_t>(1, kWidened / matrix);
  for (int64_t begin = 0; begin < groups; begin += at_once) {
    const int64_t end = std::min(groups, begin + at_once);
    const int64_t first_row = begins[begin], n_rows = begins[end] - first_row;
    if (n_rows == 0) continue;
    const Tensor wide_a = values_in_bf16(exec, a.row_range(first_row, n_rows));
    const Tensor wide_b = values_in_bf16(exec, b.slices(begin, end - begin));
    GemmProducts products(exec, end - begin);
    each_group(begins + begin, end - begin, [&](int64_t e, int64_t first, int64_t rows) {
      const Tensor c_rows = c.row_range(first, rows);
      check_product(form, c_rows, a.row_range(first, rows), b.slice(begin + e));
      products.add({element_address(wide_a, (first - first_row) * wide_a.row_stride()),
                    element_address(wide_b, e * matrix), c_rows.raw(), rows, c.cols(), a.cols()});
    });
    run_gemm(exec, gemm_form(form, c, wide_a, wide_b), products);
  }
}

// The packed products of all groups in one call; operands(e, first row, rows): c, a and b of a group.
struct GroupProduct {
  Tensor c;
  Quantised a, b;
};
template <class F>
void run_packed_groups(const Exec& exec, GemmForm gemm, const Form& form, const int32_t* begins, int64_t groups,
                       F operands) {
  std::vector<kernels::ProductScales> scales;
  GemmProducts products(exec, groups);
  each_group(begins, groups, [&](int64_t e, int64_t first, int64_t rows) {
    const GroupProduct p = operands(e, first, rows);
    check_product(form, p.c, p.a, p.b);
    scales.push_back(product_scales(form, p.a, p.b));
    products.add({p.a.codes.raw(), p.b.codes.raw(), p.c.raw(), p.c.rows(), p.c.cols(), summed_of(form, p.a)});
  });
  gemm.scales = scales.data();
  run_gemm(exec, gemm, products);
}

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
  if (of == Operands::values) return run_groups_of_values(exec, form, c, a, b, begins);
  if (of == Operands::codes) {
    each_group(begins, groups, [&](int64_t e, int64_t first, int64_t rows) {
      run(exec, form, c.row_range(first, rows), a.row_range(first, rows), b.slice(e));
    });
    return;
  }
  run_packed_groups(exec, gemm_form(form, c, a.codes, b.codes), form, begins, groups,
                    [&](int64_t e, int64_t first, int64_t rows) -> GroupProduct {
                      return {c.row_range(first, rows), a.row_range(first, rows), b.slice(e)};
                    });
}

// Codes of groups of rows in tiles that begin with each group's first row, made band by band on all threads.
class GroupCodes {
 public:
  GroupCodes(const Exec& exec, const Activation& x, Tile tile, ScaleRule rule, const int32_t* begins, int64_t groups)
      : begins_(begins) {
    const Tensor values = values_for_codes(exec, x, tile, rule);
    std::vector<std::pair<int64_t, int64_t>> bands;  // row, rows
    for (int64_t e = 0; e < groups; ++e) {
      first_band_.push_back(int64_t(bands.size()));
      for (int64_t row = begins[e]; row < begins[e + 1]; row += tile.rows)
        bands.emplace_back(row, std::min(tile.rows, begins[e + 1] - row));
    }
    first_band_.push_back(int64_t(bands.size()));
    all_ = {Tensor::empty(exec, DType::f8_e4m3, values.shape()),
            Tensor::empty(exec, DType::f32, {int64_t(bands.size()), values.cols()}), tile, values.dtype(), rule};
    Exec serial = exec;
    serial.compute = nullptr;
    exec.compute->parallel_for(int64_t(bands.size()), [&](int64_t i, int) {
      const auto [row, rows] = bands[size_t(i)];
      hadal::quantise(serial, part(row, rows, i, 1), values.row_range(row, rows), AmaxFloor::none);
    });
  }
  Quantised of(int64_t e) const {
    const int64_t band = first_band_[size_t(e)];
    return part(begins_[e], begins_[e + 1] - begins_[e], band, first_band_[size_t(e) + 1] - band);
  }
  const Tensor& codes() const { return all_.codes; }

 private:
  Quantised part(int64_t row, int64_t rows, int64_t band, int64_t bands) const {
    return {all_.codes.row_range(row, rows), all_.scales.row_range(band, bands), all_.tile, all_.source, all_.rule};
  }
  const int32_t* begins_;
  std::vector<int64_t> first_band_;
  Quantised all_;
};

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
  check(dw.shape().size() == 3 && dw.dtype() == DType::f32, ErrorKind::internal,
        "grouped_linear_backward_weight: the gradient is {} {}, must be F32 [experts, out, in]", dtype_name(dw.dtype()),
        shape_text(dw.shape()));
  const Tensor host_offsets = host_copy(offsets);
  const int32_t* begins = group_offsets("grouped_linear_backward_weight", host_offsets, dw.dim(0), dy.rows());
  for (int64_t e = 0; e < dw.dim(0); ++e)
    if (begins[e + 1] == begins[e] && write == Write::overwrite) dw.slice(e).zero(exec);
  const Form form{"grouped_linear_backward_weight", true, true, write, accumulation};
  if (takes_vectors(exec, form) && tiles.tile.rows == kernels::kGemmChunk && dy.rows() > 0) {
    const GroupCodes dy_codes(exec, dy, tiles.tile, tiles.dy, begins, dw.dim(0));
    const GroupCodes x_codes(exec, x, tiles.tile, tiles.x, begins, dw.dim(0));
    return run_packed_groups(exec, gemm_form(form, dw, dy_codes.codes(), x_codes.codes()), form, begins, dw.dim(0),
                             [&](int64_t e, int64_t, int64_t) -> GroupProduct {
                               return {dw.slice(e), dy_codes.of(e), x_codes.of(e)};
                             });
  }
  each_group(begins, dw.dim(0), [&](int64_t e, int64_t first, int64_t rows) {
    linear_backward_weight(exec, dw.slice(e), quantise(exec, dy.row_range(first, rows), tiles.tile, tiles.dy),
                           quantise(exec, x.row_range(first, rows), tiles.tile, tiles.x), write, accumulation);
  });
}

}  // namespace hadal::ops
