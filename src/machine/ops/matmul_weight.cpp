#include "ops/matmul_weight.h"

#include <vector>

#include "kernels/integer_gemm.h"
#include "ops/gemm_call.h"
#include "ops/quantise.h"

namespace hadal::ops {
namespace {

bool multiplies_codes(const Activation& x, const Weight& w) { return x.is_quantised() && w.has(WeightForm::codes); }
// Codes of rows and packed ones have the bits of codes with codes.
bool multiplies_packed_codes(const Activation& x, const Weight& w) {
  return x.is_quantised() && w.has(WeightForm::panels) && w.panels.type == PanelType::fp8 &&
         x.quantised().tile == kRowTile;
}

// Whether the forward product reads panels. Those of another instruction set serve only beside a plain form.
bool reads_panels(const Exec& exec, const Weight& w) {
  if (!w.has(WeightForm::panels)) return false;
  if (!w.has(WeightForm::plain)) check_panel_width(exec, w.panels);
  return w.panels.panel_cols == kernels::gemm_panel_cols(exec.isa);
}

// Rows of x as integers, in the lane's workspace.
class RowIntegers {
 public:
  RowIntegers(const Exec& exec, const Tensor& x)
      : groups_(kernels::integer_groups(x.cols())),
        space_(*exec.compute, x.rows() * groups_ * int64_t(sizeof(kernels::IntegerGroup))) {
    kernels::integer_rows(kernels::twin(exec, false), {kernel_rows(x, "x"), x.rows(), x.cols(), row(0), exec.compute});
  }
  kernels::IntegerGroup* row(int64_t i) const {
    return reinterpret_cast<kernels::IntegerGroup*>(space_.data) + i * groups_;
  }

 private:
  int64_t groups_;
  Workspace space_;
};

void check_integer_operands(const char* op, const Tensor& y, const Tensor& x) {
  for (const DType dtype : {x.dtype(), y.dtype()})
    check(dtype == DType::f32 || dtype == DType::bf16, ErrorKind::internal,
          "{}: the product with integer weights takes and gives F32 or BF16, not {}", op, dtype_name(dtype));
}

void run_integers(const Exec& exec, const Tensor& y, const Weight& w, Write write,
                  const kernels::IntegerProduct* products, int64_t count) {
  kernels::integer_gemm(kernels::twin(exec, false), {.products = products,
                                                     .n_products = count,
                                                     .type = w.panels.type,
                                                     .c_type = y.dtype(),
                                                     .c_row = y.row_stride(),
                                                     .add = write == Write::add,
                                                     .lane = exec.compute});
}

// The panels of one expert, and the scales of its codes.
const void* panels_of(const Weight& w, int64_t expert) { return w.panels.elements.row_range(expert, 1).raw(); }
const float* scales_of(const Weight& w, int64_t expert) {
  return w.panels.scales ? static_cast<const float*>(w.panels.scales.row_range(expert, 1).raw()) : nullptr;
}

void linear_panels(const Exec& exec, const Tensor& y, const Tensor& x, const Weight& w, Write write) {
  check_operand("linear", "x", x, x.rows(), w.in());
  check_operand("linear", "y", y, x.rows(), w.out());
  if (kernels::is_integer(w.panels.type)) {
    check_integer_operands("linear", y, x);
    const RowIntegers rows(exec, x);
    const kernels::IntegerProduct one{rows.row(0), panels_of(w, 0), y.raw(), x.rows(), w.out(), w.in()};
    return run_integers(exec, y, w, write, &one, 1);
  }
  const kernels::GemmProduct one{x.raw(), panels_of(w, 0), y.raw(), x.rows(), w.out(), w.in(), scales_of(w, 0)};
  run_gemm(exec, {"linear", y, x, w.panels.elements, false, true, write, true}, &one, 1);
}

// Codes of rows with scales as the product takes them.
Quantised rows_as_read(const Exec& exec, const char* op, const Tensor& y, const Activation& x, const Weight& w,
                       Accumulation accumulation) {
  check_panel_width(exec, w.panels);
  check(accumulation == Accumulation::fp32, ErrorKind::internal,
        "{}: packed codes are summed in FP32, not as Hopper does", op);
  check(y.dtype() == DType::f32 || y.dtype() == DType::bf16, ErrorKind::internal,
        "{}: the product of FP8 codes is F32 or BF16, not {}", op, dtype_name(y.dtype()));
  const Quantised& codes = x.quantised();
  check(!codes.is_e5m6() && codes.origin == TileOrigin(), ErrorKind::internal,
        "{}: E5M6 codes and those that begin inside of a tile do not meet packed ones", op);
  return codes.with_wide_scales(exec);
}
kernels::ProductScales scales_of_rows(const Quantised& x) {
  return {{static_cast<const float*>(x.scales.raw()), x.scales.row_stride()}, {}};
}

void linear_packed_codes(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, Write write,
                         Accumulation accumulation) {
  check_operand("linear", "x", x.quantised().codes, x.rows(), w.in());
  check_operand("linear", "y", y, x.rows(), w.out());
  const Quantised rows = rows_as_read(exec, "linear", y, x, w, accumulation);
  const kernels::ProductScales scales = scales_of_rows(rows);
  const kernels::GemmProduct one{rows.codes.raw(), panels_of(w, 0), y.raw(),        x.rows(),
                                 w.out(),          w.in(),          scales_of(w, 0)};
  run_gemm(exec, {"linear", y, rows.codes, w.panels.elements, false, true, write, true, &scales}, &one, 1);
}

void grouped_packed_codes(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w,
                          const Tensor& offsets, Write write, Accumulation accumulation) {
  const char* op = "grouped_linear";
  const Quantised rows = rows_as_read(exec, op, y, x, w, accumulation);
  std::vector<kernels::ProductScales> scales;  // of the groups that have rows
  each_group(group_offsets(op, offsets, w.n_experts(), rows.rows()), w.n_experts(),
             [&](int64_t, int64_t first, int64_t n) { scales.push_back(scales_of_rows(rows.row_range(first, n))); });
  run_row_groups(exec, {op, y, rows.codes, w.panels.elements, false, true, write, true, scales.data()}, offsets,
                 w.n_experts(), -1, [&](int64_t e) { return ExpertMatrix(panels_of(w, e), scales_of(w, e)); });
}

void grouped_integers(const Exec& exec, const Tensor& y, const Tensor& x, const Weight& w, const Tensor& offsets,
                      Write write) {
  const char* op = "grouped_linear";
  check_integer_operands(op, y, x);
  const RowIntegers rows(exec, x);
  const Workspace space(*exec.compute, w.n_experts() * int64_t(sizeof(kernels::IntegerProduct)));
  auto* products = reinterpret_cast<kernels::IntegerProduct*>(space.data);
  int64_t count = 0;
  each_group(group_offsets(op, offsets, w.n_experts(), x.rows()), w.n_experts(),
             [&](int64_t e, int64_t first, int64_t n) {
               products[count++] = {
                   rows.row(first), panels_of(w, e), const_cast<char*>(element_address(y, first * y.row_stride())), n,
                   w.out(),         w.in()};
             });
  run_integers(exec, y, w, write, products, count);
}

void check_matrix(const char* op, const Weight& w) {
  check(!w.is_stack(), ErrorKind::internal, "{}: the weight is {}, must be [out, in]", op, shape_text(w.shape));
}

void check_groups(const char* op, const Weight& w, const Tensor& outs, const Tensor& ins) {
  check(w.is_stack(), ErrorKind::internal, "{}: the weight is {}, must be [experts, out, in]", op, shape_text(w.shape));
  check_operand(op, "the operand of inputs", ins, ins.rows(), w.in());
  check_operand(op, "the operand of outputs", outs, ins.rows(), w.out());
}

}  // namespace

Tensor values_of(const Exec& exec, const Weight& w) {
  if (w.plain) return w.plain;
  check(w.has(WeightForm::codes), ErrorKind::unsupported,
        "a weight {} that keeps only panels or experts apart has no tensor; keep its plain form", shape_text(w.shape));
  return dequantise(exec, w.codes);
}

void linear(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, Write write,
            Accumulation accumulation) {
  check_matrix("linear", w);
  if (multiplies_codes(x, w)) return linear(exec, y, x, Activation(w.codes), write, accumulation);
  if (multiplies_packed_codes(x, w)) return linear_packed_codes(exec, y, x, w, write, accumulation);
  const Tensor rows = dequantise(exec, x);
  if (!reads_panels(exec, w)) return linear(exec, y, rows, values_of(exec, w), write);
  linear_panels(exec, y, rows, w, write);
}

void linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Weight& w, Write write,
                           Accumulation accumulation) {
  check_matrix("linear_backward_input", w);
  if (multiplies_codes(dy, w)) return linear_backward_input(exec, dx, dy, w.codes_for_inputs(), write, accumulation);
  linear_backward_input(exec, dx, dequantise(exec, dy), values_of(exec, w), write);
}

void grouped_linear(const Exec& exec, const Tensor& y, const Activation& x, const Weight& w, const Tensor& offsets,
                    Write write, Accumulation accumulation) {
  if (multiplies_codes(x, w)) return grouped_linear(exec, y, x, Activation(w.codes), offsets, write, accumulation);
  if (multiplies_packed_codes(x, w)) {
    check_groups("grouped_linear", w, y, x.quantised().codes);
    return grouped_packed_codes(exec, y, x, w, offsets, write, accumulation);
  }
  const Tensor rows = dequantise(exec, x);
  const bool panels = reads_panels(exec, w);
  if (!panels && w.experts.empty()) return grouped_linear(exec, y, rows, values_of(exec, w), offsets, write);
  check_groups("grouped_linear", w, y, rows);
  if (panels && kernels::is_integer(w.panels.type)) return grouped_integers(exec, y, rows, w, offsets, write);
  const Tensor b = panels ? w.panels.elements : w.matrix(0);
  run_row_groups(exec, {"grouped_linear", y, rows, b, false, true, write, panels}, offsets, w.n_experts(), -1,
                 [&](int64_t e) -> ExpertMatrix {
                   return panels ? ExpertMatrix(panels_of(w, e), scales_of(w, e)) : ExpertMatrix(w.matrix(e).raw());
                 });
}

void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Activation& dy, const Weight& w,
                                   const Tensor& offsets, Write write, Accumulation accumulation) {
  if (multiplies_codes(dy, w))
    return grouped_linear_backward_input(exec, dx, dy, w.codes_for_inputs(), offsets, write, accumulation);
  const Tensor rows = dequantise(exec, dy);
  if (w.experts.empty()) return grouped_linear_backward_input(exec, dx, rows, values_of(exec, w), offsets, write);
  check_groups("grouped_linear_backward_input", w, rows, dx);
  run_row_groups(exec, {"grouped_linear_backward_input", dx, rows, w.matrix(0), false, false, write}, offsets,
                 w.n_experts(), -1, [&](int64_t e) { return w.matrix(e).raw(); });
}

}  // namespace hadal::ops
