// Shape checks of the matrix products, and their translation into the one strided kernel of kernels/gemm.h.
#include "ops/matmul.h"

#include "base/error.h"
#include "kernels/gemm.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {
namespace {

using kernels::Gemm;
using kernels::GemmProduct;

DType gemm_type(const Tensor& tensor, const char* op, const char* name) {
  const DType dtype = tensor.dtype();
  check(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64, ErrorKind::internal,
        "{}: {} is {}, must be F64, F32 or BF16", op, name, dtype_name(dtype));
  return dtype;
}

void check_shape(const char* op, const char* name, const Tensor& tensor, int64_t rows, int64_t cols) {
  check(tensor.rows() == rows && tensor.cols() == cols, ErrorKind::internal, "{}: {} is {}, must be [{}, {}]", op, name,
        shape_text(tensor.shape()), rows, cols);
}

const char* element_address(const Tensor& tensor, int64_t elements) {
  return static_cast<const char*>(tensor.raw()) + elements * dtype_bytes(tensor.dtype());
}

// c, a, b in the kernel's sense: c[m,n] = a[m,k] b[k,n]; a transposed operand is stored the other way round.
struct Form {
  const char* op;
  const Tensor& c;
  const Tensor& a;
  const Tensor& b;
  bool transpose_a = false, transpose_b = false;
  Write write = Write::overwrite;
};

// A list of products in the lane's workspace.
class Products {
 public:
  Products(const Exec& exec, int64_t most) : space_(*exec.compute, most * int64_t(sizeof(GemmProduct))) {}
  void add(const GemmProduct& product) { list()[count_++] = product; }
  GemmProduct* list() const { return reinterpret_cast<GemmProduct*>(space_.data); }
  int64_t count() const { return count_; }

 private:
  Workspace space_;
  int64_t count_ = 0;
};

void run(const Exec& exec, const Form& form, const GemmProduct* products, int64_t n_products) {
  Gemm args;
  args.products = products;
  args.n_products = n_products;
  args.a_type = gemm_type(form.a, form.op, "the left operand");
  args.b_type = gemm_type(form.b, form.op, "the right operand");
  args.c_type = gemm_type(form.c, form.op, "the result");
  const int doubles = int(args.a_type == DType::f64) + int(args.b_type == DType::f64) + int(args.c_type == DType::f64);
  check(doubles == 0 || doubles == 3, ErrorKind::internal, "{}: F64 mixes with nothing; got {} = {} x {}", form.op,
        dtype_name(form.c.dtype()), dtype_name(form.a.dtype()), dtype_name(form.b.dtype()));
  args.a_row = form.transpose_a ? 1 : form.a.row_stride();
  args.a_col = form.transpose_a ? form.a.row_stride() : 1;
  args.b_row = form.transpose_b ? 1 : form.b.row_stride();
  args.b_col = form.transpose_b ? form.b.row_stride() : 1;
  args.c_row = form.c.row_stride();
  args.add = form.write == Write::add;
  args.lane = exec.compute;
  kernels::gemm(kernels::twin(exec, doubles == 3), args);
}

void run_one(const Exec& exec, const Form& form, int64_t m, int64_t n, int64_t k) {
  const GemmProduct product{form.a.raw(), form.b.raw(), form.c.raw(), m, n, k};
  run(exec, form, &product, 1);
}

// w[E,N,K] as its three sizes.
struct Experts {
  int64_t count, n, k;
};
Experts experts_of(const char* op, const char* name, const Tensor& w) {
  check(w.shape().size() == 3, ErrorKind::internal, "{}: {} is {}, must be [experts, out, in]", op, name,
        shape_text(w.shape()));
  return {w.dim(0), w.dim(1), w.dim(2)};
}

// Products of rows offsets[e] .. offsets[e+1] of a row-wise operand with expert e's matrix.
void run_row_groups(const Exec& exec, const Form& form, const int32_t* offsets, const Experts& e, bool to_input) {
  Products products(exec, e.count);
  for (int64_t i = 0; i < e.count; ++i) {
    const int64_t first = offsets[i], rows = offsets[i + 1] - first;
    if (rows == 0) continue;
    products.add({element_address(form.a, first * form.a.row_stride()),
                  element_address(form.b, i * e.n * form.b.row_stride()),
                  const_cast<char*>(element_address(form.c, first * form.c.row_stride())), rows, to_input ? e.k : e.n,
                  to_input ? e.n : e.k});
  }
  run(exec, form, products.list(), products.count());
}

void check_gradient_type(const char* op, const Tensor& dw) {
  check(dw.dtype() == DType::f32 || dw.dtype() == DType::f64, ErrorKind::internal,
        "{}: the gradient is {}, must be F32 or F64", op, dtype_name(dw.dtype()));
}

}  // namespace

void linear(const Exec& exec, const Tensor& y, const Tensor& x, const Tensor& w, Write write) {
  const int64_t m = x.rows(), k = x.cols(), n = w.rows();
  check_shape("linear", "w", w, n, k);
  check_shape("linear", "y", y, m, n);
  run_one(exec, {"linear", y, x, w, false, true, write}, m, n, k);
}

void linear_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& w, Write write) {
  const int64_t m = dy.rows(), n = dy.cols(), k = w.cols();
  check_shape("linear_backward_input", "w", w, n, k);
  check_shape("linear_backward_input", "dx", dx, m, k);
  run_one(exec, {"linear_backward_input", dx, dy, w, false, false, write}, m, k, n);
}

void linear_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x, Write write) {
  const int64_t m = dy.rows(), n = dy.cols(), k = x.cols();
  check_shape("linear_backward_weight", "x", x, m, k);
  check_shape("linear_backward_weight", "dw", dw, n, k);
  check_gradient_type("linear_backward_weight", dw);
  run_one(exec, {"linear_backward_weight", dw, dy, x, true, false, write}, n, k, m);
}

void grouped_linear(const Exec& exec, const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& offsets,
                    Write write) {
  const Experts e = experts_of("grouped_linear", "w", w);
  const int32_t* begins = group_offsets("grouped_linear", offsets, e.count, x.rows());
  check_shape("grouped_linear", "x", x, x.rows(), e.k);
  check_shape("grouped_linear", "y", y, x.rows(), e.n);
  const Form form{"grouped_linear", y, x, w, false, true, write};
  run_row_groups(exec, form, begins, e, false);
}

void grouped_linear_backward_input(const Exec& exec, const Tensor& dx, const Tensor& dy, const Tensor& w,
                                   const Tensor& offsets, Write write) {
  const Experts e = experts_of("grouped_linear_backward_input", "w", w);
  const int32_t* begins = group_offsets("grouped_linear_backward_input", offsets, e.count, dy.rows());
  check_shape("grouped_linear_backward_input", "dy", dy, dy.rows(), e.n);
  check_shape("grouped_linear_backward_input", "dx", dx, dy.rows(), e.k);
  const Form form{"grouped_linear_backward_input", dx, dy, w, false, false, write};
  run_row_groups(exec, form, begins, e, true);
}

void grouped_linear_backward_weight(const Exec& exec, const Tensor& dw, const Tensor& dy, const Tensor& x,
                                    const Tensor& offsets, Write write) {
  const Experts e = experts_of("grouped_linear_backward_weight", "dw", dw);
  const int32_t* begins = group_offsets("grouped_linear_backward_weight", offsets, e.count, dy.rows());
  check_shape("grouped_linear_backward_weight", "dy", dy, dy.rows(), e.n);
  check_shape("grouped_linear_backward_weight", "x", x, dy.rows(), e.k);
  check_gradient_type("grouped_linear_backward_weight", dw);
  Products products(exec, e.count);
  for (int64_t i = 0; i < e.count; ++i) {
    const int64_t first = begins[i], rows = begins[i + 1] - first;
    if (rows == 0 && write == Write::add) continue;  // overwritten, a product of no rows gives zeros
    products.add({element_address(dy, first * dy.row_stride()), element_address(x, first * x.row_stride()),
                  const_cast<char*>(element_address(dw, i * e.n * dw.row_stride())), e.n, e.k, rows});
  }
  run(exec, {"grouped_linear_backward_weight", dw, dy, x, true, false, write}, products.list(), products.count());
}

void head_matmul(const Exec& exec, const HeadMatmul& args) {
  const int64_t m = args.transpose_a ? args.a.cols() : args.a.rows(),
                k = args.transpose_a ? args.a.rows() : args.a.cols();
  const int64_t n = args.transpose_b ? args.b.rows() : args.b.cols();
  check_shape("head_matmul", "b", args.b, args.transpose_b ? n : k, args.transpose_b ? k : n);
  check_shape("head_matmul", "c", args.c, m, n);
  check(args.n_heads >= 0, ErrorKind::internal, "head_matmul: {} heads", args.n_heads);
  Products products(exec, args.n_heads);
  for (int64_t h = 0; h < args.n_heads; ++h) {
    products.add({element_address(args.a, h * args.a_head_stride), element_address(args.b, h * args.b_head_stride),
                  const_cast<char*>(element_address(args.c, h * args.c_head_stride)), m, n, k});
  }
  run(exec, {"head_matmul", args.c, args.a, args.b, args.transpose_a, args.transpose_b, args.write}, products.list(),
      products.count());
}

}  // namespace hadal::ops
