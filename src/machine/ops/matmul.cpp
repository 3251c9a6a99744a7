// Shape checks of the matrix products, and their translation into the one strided kernel of kernels/gemm.h.
#include "ops/matmul.h"

#include "base/error.h"
#include "ops/gemm_call.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {
namespace {

// w[E,N,K] as its three sizes.
struct Experts {
  int64_t count, n, k;
};
Experts experts_of(const char* op, const char* name, const Tensor& w) {
  check(w.shape().size() == 3, ErrorKind::internal, "{}: {} is {}, must be [experts, out, in]", op, name,
        shape_text(w.shape()));
  return {w.dim(0), w.dim(1), w.dim(2)};
}

// With the matrices of the stack form.b.
void run_stack(const Exec& exec, const GemmForm& form, const Tensor& offsets, const Experts& e) {
  const int64_t stack = e.n * form.b.row_stride();
  run_row_groups(exec, form, offsets, e.count, stack,
                 [&](int64_t i) -> const void* { return element_address(form.b, i * stack); });
}

void check_gradient_type(const char* op, const Tensor& dw) {
  check(dw.dtype() == DType::f32 || dw.dtype() == DType::f64, ErrorKind::internal,
        "{}: the gradient is {}, must be F32 or F64", op, dtype_name(dw.dtype()));
}

}  // namespace

void linear(const Exec& exec, const Tensor& y, const Tensor& x, const Tensor& w, Write write) {
  const int64_t m = x.rows(), k = x.cols(), n = w.rows();
  check_operand("linear", "w", w, n, k);
  check_operand("linear", "y", y, m, n);
  run_gemm(exec, {"linear", y, x, w, false, true, write}, m, n, k);
}

void linear_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& w, Write write) {
  const int64_t m = dy.rows(), n = dy.cols(), k = w.cols();
  check_operand("linear_backward_input", "w", w, n, k);
  check_operand("linear_backward_input", "dx", dx, m, k);
  run_gemm(exec, {"linear_backward_input", dx, dy, w, false, false, write}, m, k, n);
}

void linear_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x, Write write) {
  const int64_t m = dy.rows(), n = dy.cols(), k = x.cols();
  check_operand("linear_backward_weight", "x", x, m, k);
  check_operand("linear_backward_weight", "dw", dw, n, k);
  check_gradient_type("linear_backward_weight", dw);
  run_gemm(exec, {"linear_backward_weight", dw, dy, x, true, false, write}, n, k, m);
}

void grouped_linear(const Exec& exec, const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& offsets,
                    Write write) {
  const Experts e = experts_of("grouped_linear", "w", w);
  check_operand("grouped_linear", "x", x, x.rows(), e.k);
  check_operand("grouped_linear", "y", y, x.rows(), e.n);
  run_stack(exec, {"grouped_linear", y, x, w, false, true, write}, offsets, e);
}

void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& w,
                                   const Tensor& offsets, Write write) {
  const Experts e = experts_of("grouped_linear_backward_input", "w", w);
  check_operand("grouped_linear_backward_input", "dy", dy, dy.rows(), e.n);
  check_operand("grouped_linear_backward_input", "dx", dx, dy.rows(), e.k);
  run_stack(exec, {"grouped_linear_backward_input", dx, dy, w, false, false, write}, offsets, e);
}

void grouped_linear_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x,
                                    const Tensor& offsets, Write write) {
  const Experts e = experts_of("grouped_linear_backward_weight", "dw", dw);
  check_operand("grouped_linear_backward_weight", "dy", dy, dy.rows(), e.n);
  check_operand("grouped_linear_backward_weight", "x", x, dy.rows(), e.k);
  check_gradient_type("grouped_linear_backward_weight", dw);
  const GemmForm form{"grouped_linear_backward_weight", dw, dy, x, true, false, write};
  const int64_t stack = e.n * dw.row_stride();
  if (!offsets.on_host()) {
    const kernels::GemmProduct all{dy.raw(), x.raw(), dw.raw(), e.n, e.k, dy.rows()};
    return run_gemm(
        exec, form, &all, 1,
        {.offsets = i32_vector(offsets, e.count + 1, form.op), .n = e.count, .stack = stack, .along_k = true});
  }
  const int32_t* begins = group_offsets(form.op, offsets, e.count, dy.rows());
  GemmProducts products(exec, e.count);
  for (int64_t i = 0; i < e.count; ++i) {
    const int64_t first = begins[i], rows = begins[i + 1] - first;
    if (rows == 0 && write == Write::add) continue;  // overwritten, a product of no rows gives zeros
    products.add({element_address(dy, first * dy.row_stride()), element_address(x, first * x.row_stride()),
                  const_cast<char*>(element_address(dw, i * stack)), e.n, e.k, rows});
  }
  run_gemm(exec, form, products);
}

namespace {

void head_matmul_panels(const Exec& exec, const HeadMatmul& args) {
  const Panels& panels = *args.panels;
  check_panel_width(exec, panels);
  const int64_t m = args.a.rows(), k = args.a.cols(), n = args.c.cols();
  check_operand("head_matmul", "c", args.c, m, n);
  const int64_t bytes = kernels::gemm_panel_bytes(panels.type, k, n, panels.panel_cols);
  check(panels.elements.rows() == args.n_heads && panels.elements.row_range(0, 1).bytes() == bytes && !args.transpose_a,
        ErrorKind::internal, "head_matmul: panels {} are not those of {} heads [{}, {}]",
        shape_text(panels.elements.shape()), args.n_heads, n, k);
  GemmProducts products(exec, args.n_heads);
  for (int64_t h = 0; h < args.n_heads; ++h)
    products.add({element_address(args.a, h * args.a_head_stride), panels.elements.row_range(h, 1).raw(),
                  const_cast<char*>(element_address(args.c, h * args.c_head_stride)), m, n, k});
  run_gemm(exec, {"head_matmul", args.c, args.a, panels.elements, false, true, args.write, true}, products);
}

}  // namespace

void head_matmul(const Exec& exec, const HeadMatmul& args) {
  if (args.panels != nullptr) return head_matmul_panels(exec, args);
  const int64_t m = args.transpose_a ? args.a.cols() : args.a.rows(),
                k = args.transpose_a ? args.a.rows() : args.a.cols();
  const int64_t n = args.transpose_b ? args.b.rows() : args.b.cols();
  check_operand("head_matmul", "b", args.b, args.transpose_b ? n : k, args.transpose_b ? k : n);
  check_operand("head_matmul", "c", args.c, m, n);
  check(args.n_heads >= 0, ErrorKind::internal, "head_matmul: {} heads", args.n_heads);
  GemmProducts products(exec, args.n_heads);
  for (int64_t h = 0; h < args.n_heads; ++h) {
    products.add({element_address(args.a, h * args.a_head_stride), element_address(args.b, h * args.b_head_stride),
                  const_cast<char*>(element_address(args.c, h * args.c_head_stride)), m, n, k});
  }
  run_gemm(exec, {"head_matmul", args.c, args.a, args.b, args.transpose_a, args.transpose_b, args.write}, products);
}

}  // namespace hadal::ops
