#include "ops/attention.h"

#include "base/error.h"
#include "kernels/attention.h"
#include "ops/kernel_rows.h"

namespace hadal::ops {
namespace {

kernels::Rows rows_of(const Tensor& tensor) {
  if (!tensor) return {};
  return {tensor.raw(), tensor.row_stride(), tensor.dtype()};
}

void check_tensor(const Tensor& tensor, const char* name, DType dtype, int64_t cols) {
  if (cols == 0 && !tensor) return;
  check(bool(tensor), ErrorKind::invalid, "attention: {} is empty", name);
  check(tensor.dtype() == dtype, ErrorKind::invalid, "attention: {} is {}, but must be {}", name,
        dtype_name(tensor.dtype()), dtype_name(dtype));
  check(tensor.cols() >= cols, ErrorKind::invalid, "attention: {} has {} columns, but needs {}", name, tensor.cols(),
        cols);
}

void check_same_rows(const Tensor& tensor, const char* name, const Tensor& like) {
  check(tensor.rows() == like.rows(), ErrorKind::invalid, "attention: {} has {} rows, but needs {}", name,
        tensor.rows(), like.rows());
}

int64_t key_heads(const AttentionInputs& in) { return in.n_kv_heads > 0 ? in.n_kv_heads : in.n_heads; }

// Columns that n_heads heads of `width` take, `stride` apart, in a row.
int64_t span(int64_t n_heads, int64_t stride, int64_t width) { return (n_heads - 1) * stride + width; }

void check_sizes(const AttentionInputs& in) {
  check(in.n_heads > 0 && in.d_nope >= 0 && in.d_rope >= 0 && in.d_v > 0 && in.d_nope + in.d_rope > 0,
        ErrorKind::invalid, "attention: impossible sizes: {} heads of {} + {} / {}", in.n_heads, in.d_nope, in.d_rope,
        in.d_v);
  check(in.scale > 0, ErrorKind::invalid, "attention: scale {} must be positive", in.scale);
  check(in.k_head_stride == 0 || in.k_head_stride >= in.d_nope, ErrorKind::invalid,
        "attention: key heads {} apart overlap; 0 shares one head, else at least {}", in.k_head_stride, in.d_nope);
  check(in.v_head_stride == 0 || in.v_head_stride >= in.d_v, ErrorKind::invalid,
        "attention: value heads {} apart overlap; 0 shares one head, else at least {}", in.v_head_stride, in.d_v);
  check(in.segments != nullptr, ErrorKind::invalid, "attention: no segments given");
  if (in.n_kv_heads == 0 || in.n_kv_heads == in.n_heads) return;
  check(in.n_kv_heads > 0 && in.n_heads % in.n_kv_heads == 0, ErrorKind::invalid,
        "attention: {} key/value heads do not divide {} heads", in.n_kv_heads, in.n_heads);
  check(in.d_rope == 0 && !in.values_are_keys, ErrorKind::invalid,
        "attention: groups of heads share keys and values of their own, and no rotary key");
}

void check_blocks(const AttentionInputs& in, const Segment& s) {
  static_assert(kKeyBlock == kernels::kAttentionTile);
  const int64_t n = (s.n_k + kKeyBlock - 1) / kKeyBlock, all = in.v.rows() / kKeyBlock;
  check(s.q_begin >= 0 && s.q_begin + s.n_q <= in.q.rows() && s.k_begin >= 0 && s.k_begin + n <= in.blocks.count(),
        ErrorKind::invalid,
        "attention: segment of queries {}..{} and entries {}..{} leaves the {} query rows and the table of {} blocks",
        s.q_begin, s.q_begin + s.n_q, s.k_begin, s.k_begin + n, in.q.rows(), in.blocks.count());
  for (int64_t i = s.k_begin; in.blocks.on_host() && i < s.k_begin + n; ++i) {
    const int32_t block = in.blocks.data<int32_t>()[i];
    check(block >= 0 && block < all, ErrorKind::invalid, "attention: entry {} names block {} of {}", i, block, all);
  }
}

// Of keys in FP8: their codes are k_nope and v.
void check_codes(const AttentionInputs& in) {
  check(in.values_are_keys && in.k_head_stride == 0 && in.q.dtype() != DType::f64, ErrorKind::invalid,
        "attention: keys in FP8 are one head's, which values are too, for F32 or BF16 queries");
  check_tensor(in.k_scales, "k_scales", DType::f32,
               (in.d_nope + kernels::kAttentionChunk - 1) / kernels::kAttentionChunk);
  check_same_rows(in.k_scales, "k_scales", in.k_nope);
}

void check_inputs(const AttentionInputs& in) {
  check_sizes(in);
  const DType dtype = in.q.dtype(), of_keys = in.k_scales ? DType::f8_e4m3 : dtype;
  check(dtype == DType::f64 || dtype == DType::f32 || is_half(dtype), ErrorKind::unsupported,
        "attention takes F64, F32, BF16 or F16, not {}", dtype_name(dtype));
  check_tensor(in.q, "q", dtype, in.n_heads * (in.d_nope + in.d_rope));
  // A view of head 0 may be as narrow as a head; the caller vouches for the heads that lie a stride apart behind it.
  check_tensor(in.k_nope, "k_nope", of_keys, in.d_nope);
  check_tensor(in.k_rope, "k_rope", in.k_scales ? DType::bf16 : dtype, in.d_rope);
  check_tensor(in.v, "v", of_keys, in.d_v);
  if (in.k_scales) check_codes(in);
  check(in.d_nope == 0 || in.k_nope.rows() <= 1 ||
            in.k_nope.row_stride() >= span(key_heads(in), in.k_head_stride, in.d_nope),
        ErrorKind::invalid, "attention: {} key heads {} apart do not fit into rows {} apart", key_heads(in),
        in.k_head_stride, in.k_nope.row_stride());
  check(in.v.rows() <= 1 || in.v.row_stride() >= span(key_heads(in), in.v_head_stride, in.d_v), ErrorKind::invalid,
        "attention: {} value heads {} apart do not fit into rows {} apart", key_heads(in), in.v_head_stride,
        in.v.row_stride());
  if (in.d_nope > 0) check_same_rows(in.k_nope, "k_nope", in.v);
  if (in.d_rope > 0) check_same_rows(in.k_rope, "k_rope", in.v);
  check(!in.values_are_keys || (in.v.raw() == in.k_nope.raw() && in.v.row_stride() == in.k_nope.row_stride() &&
                                in.v_head_stride == in.k_head_stride && in.d_v <= in.d_nope),
        ErrorKind::invalid, "attention: values are said to be keys, but lie elsewhere or are wider ({} of {})", in.d_v,
        in.d_nope);
  for (const Segment& s : *in.segments) {
    check(s.n_q >= 0 && s.n_q <= s.n_k, ErrorKind::invalid, "attention: a segment has {} queries for {} keys", s.n_q,
          s.n_k);
    if (in.blocks) {
      check_blocks(in, s);
      continue;
    }
    check(s.q_begin >= 0 && s.q_begin + s.n_q <= in.q.rows() && s.k_begin >= 0 && s.k_begin + s.n_k <= in.v.rows(),
          ErrorKind::invalid,
          "attention: segment of queries {}..{} and keys {}..{} leaves the {} query rows and {} key rows", s.q_begin,
          s.q_begin + s.n_q, s.k_begin, s.k_begin + s.n_k, in.q.rows(), in.v.rows());
  }
}

void check_outputs(const AttentionInputs& in, const Tensor& o, const Tensor& lse) {
  const DType dtype = in.q.dtype();
  check_tensor(o, "o", dtype, in.n_heads * in.d_v);
  check_tensor(lse, "lse", dtype == DType::f64 ? DType::f64 : DType::f32, in.n_heads);
  check_same_rows(o, "o", in.q);
  check_same_rows(lse, "lse", in.q);
}

kernels::Attention kernel_args(const Exec& exec, const AttentionInputs& in, const Tensor& o, const Tensor& lse) {
  return {.q = rows_of(in.q),
          .k_nope = rows_of(in.k_nope),
          .k_rope = rows_of(in.k_rope),
          .v = rows_of(in.v),
          .k_head_stride = in.k_head_stride,
          .v_head_stride = in.v_head_stride,
          .n_heads = in.n_heads,
          .d_nope = in.d_nope,
          .d_rope = in.d_rope,
          .d_v = in.d_v,
          .group = in.n_heads / key_heads(in),
          .scale = in.scale,
          .values_are_keys = in.values_are_keys,
          .o = rows_of(o),
          .lse = rows_of(lse),
          .k_scales = rows_of(in.k_scales),
          .blocks = in.blocks ? i32_vector(in.blocks, in.blocks.count(), "attention: table of blocks") : nullptr,
          .segments = in.segments->data(),
          .n_segments = int64_t(in.segments->size()),
          .lane = exec.compute};
}

// Backward of grouped heads: number g of the key/value heads, with the queries that share it, which is attention of
// shared heads.
struct KeyValueHead {
  int64_t g = 0, shared_by = 0;

  Tensor of_queries(const Tensor& x, int64_t d) const { return x.col_range(g * shared_by * d, shared_by * d); }
  Tensor of_keys(const Tensor& x, int64_t stride, int64_t d) const { return x.col_range(g * stride, d); }
  AttentionInputs inputs(const AttentionInputs& in) const {
    AttentionInputs one = in;
    one.q = of_queries(in.q, in.d_nope);
    one.k_nope = of_keys(in.k_nope, in.k_head_stride, in.d_nope);
    one.v = of_keys(in.v, in.v_head_stride, in.d_v);
    one.n_heads = shared_by;
    one.n_kv_heads = one.k_head_stride = one.v_head_stride = 0;
    return one;
  }
};

}  // namespace

void attention_forward(const Exec& exec, const AttentionInputs& in, const Tensor& o, const Tensor& lse) {
  check_inputs(in);
  check_outputs(in, o, lse);
  kernels::attention_forward(kernels::twin(exec, in.q.dtype() == DType::f64), kernel_args(exec, in, o, lse));
}

void attention_backward(const Exec& exec, const AttentionInputs& in, const Tensor& o, const Tensor& lse,
                        const Tensor& d_o, const AttentionGradients& out) {
  check(!in.blocks && !in.k_scales, ErrorKind::internal, "attention: keys of a cache have no gradient");
  check_inputs(in);
  if (key_heads(in) < in.n_heads) {
    for (int64_t g = 0; g < in.n_kv_heads; ++g) {
      const KeyValueHead head{g, in.n_heads / in.n_kv_heads};
      attention_backward(exec, head.inputs(in), head.of_queries(o, in.d_v), head.of_queries(lse, 1),
                         head.of_queries(d_o, in.d_v),
                         {.dq = head.of_queries(out.dq, in.d_nope),
                          .dk_nope = head.of_keys(out.dk_nope, in.k_head_stride, in.d_nope),
                          .dv = head.of_keys(out.dv, in.v_head_stride, in.d_v),
                          .dk_rope = Tensor()});
    }
    return;
  }
  check_outputs(in, o, lse);
  const DType dtype = in.q.dtype();
  check_tensor(d_o, "d_o", dtype, in.n_heads * in.d_v);
  check_same_rows(d_o, "d_o", in.q);
  check_tensor(out.dq, "dq", dtype, in.n_heads * (in.d_nope + in.d_rope));
  check_same_rows(out.dq, "dq", in.q);
  check_tensor(out.dk_nope, "dk_nope", dtype, in.d_nope);
  check_tensor(out.dk_rope, "dk_rope", dtype, in.d_rope);
  check_tensor(out.dv, "dv", dtype, in.d_v);
  if (in.d_nope > 0) check_same_rows(out.dk_nope, "dk_nope", in.v);
  if (in.d_rope > 0) check_same_rows(out.dk_rope, "dk_rope", in.v);
  check_same_rows(out.dv, "dv", in.v);
  const kernels::AttentionBackward args{.forward = kernel_args(exec, in, o, lse),
                                        .d_o = rows_of(d_o),
                                        .dq = rows_of(out.dq),
                                        .dk_nope = rows_of(out.dk_nope),
                                        .dk_rope = rows_of(out.dk_rope),
                                        .dv = rows_of(out.dv)};
  kernels::attention_backward(kernels::twin(exec, in.q.dtype() == DType::f64), args);
}

}  // namespace hadal::ops
