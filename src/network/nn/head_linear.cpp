#include "nn/head_linear.h"

#include "ops/matmul_weight.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {

// The weight as products read it: plain, or the values of its codes; of the two sets of MX always those for y = x W^T,
// since a head's halves are summed along either dimension forward and backward.
Tensor HeadLinear::weight(const Exec& exec, Format format) const {
  const Weight& weight = weight_for(kv_b.recipe, GemmPass::fprop, *kv_b.weight);
  return format == Format::fp8 ? ops::dequantise(exec, weight.codes) : ops::values_of(exec, weight);
}

// The rope parts of all heads of all rows as one matrix [rows * heads, rope].
Tensor HeadLinear::rope_part(const Tensor& x, int64_t head_size) const {
  return x.view({x.rows() * heads, head_size}).col_range(head_size - rope, rope);
}

Tensor HeadLinear::operand(const Exec& exec, Pass pass, const Tensor& x, int64_t size) const {
  CutMatrix columns;
  const CutMatrix* cut = kv_b.weight->cut_along(0);
  if (cut) columns = cut->columns(nope + v, size), cut = &columns;
  const GemmRecipe& r = kv_b.recipe;
  return ops::dequantise(exec, pass == Pass::fprop ? r.fprop_operand(exec, x, cut) : r.dgrad_operand(exec, x, cut));
}

bool HeadLinear::shares_fprop_codes() const {
  const CutMatrix* rows = kv_b.weight->cut_along(0);
  if (!rows || kv_b.recipe.fprop != Format::fp8) return false;
  const Tile tile = kv_b.recipe.activation;
  return rows->columns(nope + v, nope + rope).cuts(tile) || rows->columns(nope + v, rank).cuts(tile);
}

void HeadLinear::absorb(const Exec& exec, const Tensor& absorbed, const Tensor& q) const {
  const Tensor operand = this->operand(exec, Pass::fprop, q, nope + rope);
  const HeadPanels& panels = kv_b.weight->value.heads;
  ops::head_matmul(exec, {.c = absorbed.col_range(0, rank),
                          .a = operand.col_range(0, nope),
                          .b = panels ? Tensor() : weight(exec, kv_b.recipe.fprop).row_range(0, nope),
                          .panels = panels ? &panels.keys : nullptr,
                          .n_heads = heads,
                          .c_head_stride = rank + rope,
                          .a_head_stride = nope + rope,
                          .b_head_stride = (nope + v) * rank});
  ops::copy(exec, rope_part(absorbed, rank + rope), rope_part(q, nope + rope));
}

void HeadLinear::absorb_backward(const Exec& exec, const Tensor& dq, const Tensor& d_absorbed) const {
  const Tensor operand = this->operand(exec, Pass::dgrad, d_absorbed, rank + rope);
  ops::head_matmul(exec, {.c = dq.col_range(0, nope),
                          .a = operand.col_range(0, rank),
                          .b = weight(exec, kv_b.recipe.dgrad).row_range(0, nope),
                          .n_heads = heads,
                          .c_head_stride = nope + rope,
                          .a_head_stride = rank + rope,
                          .b_head_stride = (nope + v) * rank,
                          .transpose_b = true});
  ops::copy(exec, rope_part(dq, nope + rope), rope_part(d_absorbed, rank + rope));
}

void HeadLinear::values(const Exec& exec, const Tensor& o, const Tensor& z) const {
  const Tensor operand = this->operand(exec, Pass::fprop, z, rank);
  const HeadPanels& panels = kv_b.weight->value.heads;
  ops::head_matmul(exec, {.c = o.col_range(0, v),
                          .a = operand.col_range(0, rank),
                          .b = panels ? Tensor() : weight(exec, kv_b.recipe.fprop).row_range(nope, v),
                          .panels = panels ? &panels.values : nullptr,
                          .n_heads = heads,
                          .c_head_stride = v,
                          .a_head_stride = rank,
                          .b_head_stride = (nope + v) * rank,
                          .transpose_b = true});
}

void HeadLinear::values_backward(const Exec& exec, const Tensor& dz, const Tensor& d_o) const {
  const Tensor operand = this->operand(exec, Pass::dgrad, d_o, v);
  ops::head_matmul(exec, {.c = dz.col_range(0, rank),
                          .a = operand.col_range(0, v),
                          .b = weight(exec, kv_b.recipe.dgrad).row_range(nope, v),
                          .n_heads = heads,
                          .c_head_stride = rank,
                          .a_head_stride = v,
                          .b_head_stride = (nope + v) * rank});
}

void HeadLinear::backward_weight(const Exec& exec, const Operands& x) const {
  const GemmRecipe& r = kv_b.recipe;
  const auto gradient = [&](const Tensor& t) { return ops::dequantise(exec, r.wgrad_operand_dy(exec, t)); };
  const auto input = [&](const Tensor& t) { return ops::dequantise(exec, r.wgrad_operand_x(exec, t)); };
  kv_b.weight->contribute([&](const Tensor& grad, ops::Write write) {
    ops::head_matmul(exec, {.c = grad.row_range(nope, v),
                            .a = gradient(x.d_o).col_range(0, v),
                            .b = input(x.z).col_range(0, rank),
                            .n_heads = heads,
                            .c_head_stride = (nope + v) * rank,
                            .a_head_stride = v,
                            .b_head_stride = rank,
                            .transpose_a = true,
                            .write = write});
    ops::head_matmul(exec, {.c = grad.row_range(0, nope),
                            .a = input(x.q).col_range(0, nope),
                            .b = gradient(x.d_absorbed).col_range(0, rank),
                            .n_heads = heads,
                            .c_head_stride = (nope + v) * rank,
                            .a_head_stride = nope + rope,
                            .b_head_stride = rank + rope,
                            .transpose_a = true,
                            .write = write});
  });
}

}  // namespace hadal
