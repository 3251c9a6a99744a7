// From tensors to one call of kernels/gemm.h: a list of products of one form, and the checks that all of them share.
#pragma once
#include "base/error.h"
#include "kernels/gemm.h"
#include "ops/kernel_rows.h"
#include "ops/write.h"
#include "tensor/weight.h"

namespace hadal::ops {

inline DType gemm_type(const Tensor& tensor, const char* op, const char* name, bool codes = false) {
  const DType dtype = tensor.dtype();
  if (codes && dtype == DType::f8_e4m3) return dtype;
  check(dtype == DType::f32 || is_half(dtype) || dtype == DType::f64, ErrorKind::internal,
        "{}: {} is {}, must be F64, F32, BF16 or F16", op, name, dtype_name(dtype));
  return dtype;
}

inline void check_operand(const char* op, const char* name, const Tensor& tensor, int64_t rows, int64_t cols) {
  check(tensor.rows() == rows && tensor.cols() == cols, ErrorKind::internal, "{}: {} is {}, must be [{}, {}]", op, name,
        shape_text(tensor.shape()), rows, cols);
}

inline const char* element_address(const Tensor& tensor, int64_t elements) {
  return static_cast<const char*>(tensor.raw()) + elements * dtype_bytes(tensor.dtype());
}

// Panels are read by the instruction set that they were packed for.
inline void check_panel_width(const Exec& exec, const Panels& panels) {
  const int64_t wanted = kernels::gemm_panel_cols(exec.isa);
  check(panels.panel_cols == wanted, ErrorKind::unsupported,
        "a weight is packed in panels of {} columns, but {} reads panels of {}; pack it again for this instruction set",
        panels.panel_cols, isa_name(exec.isa), wanted);
}

// c, a, b in the kernel's sense: c[m,n] = a[m,k] b[k,n]; a transposed operand is stored the other way round.
struct GemmForm {
  const char* op;
  const Tensor& c;
  const Tensor& a;
  const Tensor& b;
  bool transpose_a = false, transpose_b = false;
  Write write = Write::overwrite;
  bool b_is_panels = false;                        // of [n, k], packed (kernels/gemm_panels.h)
  const kernels::ProductScales* scales = nullptr;  // of each product
};

// A list of products in the lane's workspace.
class GemmProducts {
 public:
  GemmProducts(const Exec& exec, int64_t most) : space_(*exec.compute, most * int64_t(sizeof(kernels::GemmProduct))) {}
  void add(const kernels::GemmProduct& product) { list()[count_++] = product; }
  kernels::GemmProduct* list() const { return reinterpret_cast<kernels::GemmProduct*>(space_.data); }
  int64_t count() const { return count_; }

 private:
  Workspace space_;
  int64_t count_ = 0;
};

inline void run_gemm(const Exec& exec, const GemmForm& form, const kernels::GemmProduct* products, int64_t n_products,
                     const kernels::GemmGroups& groups = {}) {
  kernels::Gemm args;
  args.groups = groups;
  args.products = products;
  args.n_products = n_products;
  args.a_type = gemm_type(form.a, form.op, "the left operand", form.scales != nullptr);
  args.b_type = gemm_type(form.b, form.op, "the right operand", form.scales != nullptr || form.b_is_panels);
  args.c_type = gemm_type(form.c, form.op, "the result");
  const int doubles = int(args.a_type == DType::f64) + int(args.b_type == DType::f64) + int(args.c_type == DType::f64);
  check(doubles == 0 || doubles == 3, ErrorKind::internal, "{}: F64 mixes with nothing; got {} = {} x {}", form.op,
        dtype_name(form.c.dtype()), dtype_name(form.a.dtype()), dtype_name(form.b.dtype()));
  check(!form.b_is_panels || (args.a_type != DType::f16 && args.c_type != DType::f16), ErrorKind::unsupported,
        "{}: weights packed in panels are multiplied in F32 and BF16, not {} = {} x panels", form.op,
        dtype_name(args.c_type), dtype_name(args.a_type));
  args.a_row = form.transpose_a ? 1 : form.a.row_stride();
  args.a_col = form.transpose_a ? form.a.row_stride() : 1;
  args.b_row = form.transpose_b ? 1 : form.b.row_stride();
  args.b_col = form.transpose_b ? form.b.row_stride() : 1;
  args.b_is_panels = form.b_is_panels;
  args.scales = form.scales;
  args.c_row = form.c.row_stride();
  args.add = form.write == Write::add;
  args.lane = exec.compute;
  kernels::gemm(kernels::twin(exec, doubles == 3), args);
}

inline void run_gemm(const Exec& exec, const GemmForm& form, int64_t m, int64_t n, int64_t k) {
  const kernels::GemmProduct product{form.a.raw(), form.b.raw(), form.c.raw(), m, n, k};
  run_gemm(exec, form, &product, 1);
}
inline void run_gemm(const Exec& exec, const GemmForm& form, const GemmProducts& products) {
  run_gemm(exec, form, products.list(), products.count());
}

// Calls f(expert, its first row, its rows) for every expert that has rows.
template <class F>
void each_group(const int32_t* begins, int64_t n_experts, F f) {
  for (int64_t e = 0; e < n_experts; ++e)
    if (begins[e + 1] > begins[e]) f(e, int64_t(begins[e]), int64_t(begins[e + 1] - begins[e]));
}

// The matrix of an expert; of FP8 panels also the scales of its codes.
struct ExpertMatrix {
  const void* elements = nullptr;
  const float* scales = nullptr;
  ExpertMatrix(const void* elements, const float* scales = nullptr) : elements(elements), scales(scales) {}
};

// Rows offsets[e] .. offsets[e+1] of a and c with expert e's matrix, which lies at matrix(e): in a stack, `stack`
// elements behind the one before; -1: anywhere, which devices do not take.
template <class Matrix>
void run_row_groups(const Exec& exec, const GemmForm& form, const Tensor& offsets, int64_t n_experts, int64_t stack,
                    Matrix matrix) {
  const int64_t rows = form.a.rows();
  if (!offsets.on_host()) {
    check(stack >= 0 && !form.b_is_panels, ErrorKind::unsupported,
          "{}: on a device the experts' matrices lie in one stack, as plain tensors", form.op);
    const kernels::GemmProduct all{form.a.raw(), ExpertMatrix(matrix(0)).elements, form.c.raw(), rows, form.c.cols(),
                                   form.a.cols()};
    return run_gemm(exec, form, &all, 1,
                    {.offsets = i32_vector(offsets, n_experts + 1, form.op), .n = n_experts, .stack = stack});
  }
  const int32_t* begins = group_offsets(form.op, offsets, n_experts, rows);
  GemmProducts products(exec, n_experts);
  each_group(begins, n_experts, [&](int64_t e, int64_t first, int64_t n) {
    const ExpertMatrix b = matrix(e);
    products.add({element_address(form.a, first * form.a.row_stride()), b.elements,
                  const_cast<char*>(element_address(form.c, first * form.c.row_stride())), n, form.c.cols(),
                  form.a.cols(), b.scales});
  });
  run_gemm(exec, form, products);
}

}  // namespace hadal::ops
