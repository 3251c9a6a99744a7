#include "nn/rounded.h"

#include "ops/gemm_call.h"
#include "ops/quantise.h"
#include "tensor/weight.h"

namespace hadal {
namespace {

void round_into(const Exec& exec, const Tensor& to, const Tensor& from, const Rounding& how) {
  if (from.rows() > 0) dequantise(exec, to, ops::quantise(exec, from, how.tile, how.rule, how.floor));
}

}  // namespace

Tensor rounded(const Exec& exec, const Activation& x, const Rounding& how, const Tensor& offsets) {
  const Tensor from = ops::dequantise(exec, x);
  const Tensor to = Tensor::zeros(exec, DType::f32, {from.rows(), from.cols()});
  if (!offsets || how.tile.rows == 1) return round_into(exec, to, from, how), to;
  const Tensor host = host_copy(offsets);
  const int64_t groups = host.count() - 1;
  const int32_t* begins = ops::group_offsets("rounded", host, groups, from.rows());
  if (how.tile == kWholeTile) {
    round_into(exec, to.row_range(0, begins[groups]), from.row_range(0, begins[groups]), how);
    return to;
  }
  ops::each_group(begins, groups, [&](int64_t, int64_t first, int64_t rows) {
    round_into(exec, to.row_range(first, rows), from.row_range(first, rows), how);
  });
  return to;
}

Tensor rounded_x(const Exec& exec, const GemmRecipe& r, const Activation& x, const Tensor& offsets) {
  return rounded(exec, x, {r.activation, r.x_scale, r.study.floor}, offsets);
}

Tensor rounded_dy(const Exec& exec, const GemmRecipe& r, const Activation& dy, const Tensor& offsets) {
  return rounded(exec, dy, {r.study.gradient, r.dy_scale, r.study.floor}, offsets);
}

Tensor rounded_token_x(const Exec& exec, const GemmRecipe& r, const Activation& x, const Tensor& offsets) {
  const Activation once = r.study.retiled ? Activation(rounded_x(exec, r, x, offsets)) : x;
  return rounded(exec, once, {r.token, r.x_scale, r.study.floor}, offsets);
}

Tensor rounded_token_dy(const Exec& exec, const GemmRecipe& r, const Activation& dy, const Tensor& offsets) {
  return rounded(exec, dy, {r.token, r.dy_scale, r.study.floor}, offsets);
}

Tensor rounded_weight(const Exec& exec, const Weight& weight) {
  const Tensor values = Tensor::empty(exec, DType::f32, weight.shape);
  dequantise(exec, values, weight.codes);
  return values;
}

}  // namespace hadal
