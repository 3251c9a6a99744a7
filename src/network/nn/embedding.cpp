#include "nn/embedding.h"

#include "nn/vocabulary.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

struct OwnTokens {
  Tensor tokens, rows;  // i32: which tokens, ascending, and their rows of the box; empty where there are none
};

OwnTokens own_tokens(const Exec& exec, const Parameter& weight, const Tensor& ids) {
  const Tensor own = own_rows_of(exec, weight, ids);
  std::vector<int32_t> tokens, rows;
  for (int64_t i = 0; i < ids.count(); ++i) {
    const int32_t row = own.data<int32_t>()[i];
    if (row >= 0) tokens.push_back(int32_t(i)), rows.push_back(row);
  }
  if (rows.empty()) return {};
  return {Tensor::from(exec, tokens, {int64_t(tokens.size())}), Tensor::from(exec, rows, {int64_t(rows.size())})};
}

Tensor rows_at(const Exec& exec, const Tensor& from, const Tensor& index, DType dtype) {
  const Tensor rows = Tensor::empty(exec, dtype, {index.count(), from.cols()});
  ops::gather_rows(exec, rows, from, index);
  return rows;
}

}  // namespace

Tensor Embedding::forward(const Exec& exec, const Tensor& ids, DType dtype) const {
  const Tensor y = Tensor::empty(exec, dtype, {ids.count(), weight->box.size[1]});
  if (!is_slice_of_vocabulary(*weight)) return ops::embedding(exec, y, weight->value.plain, ids), y;
  y.zero(exec);
  if (const OwnTokens own = own_tokens(exec, *weight, ids); own.rows)
    ops::add_rows(exec, y, rows_at(exec, weight->value.plain, own.rows, dtype), own.tokens);
  return y;
}

void Embedding::backward_weight(const Exec& exec, const Tensor& dy, const Tensor& ids) const {
  const auto add = [&](const Tensor& dy_of, const Tensor& rows) {
    weight->contribute(
        [&](const Tensor& grad, ops::Write write) { ops::embedding_backward_weight(exec, grad, dy_of, rows, write); });
  };
  if (!is_slice_of_vocabulary(*weight)) return add(dy, ids);
  const OwnTokens own = own_tokens(exec, *weight, ids);
  if (!own.rows) return weight->contribute_nothing();
  add(rows_at(exec, dy, own.tokens, dy.dtype()), own.rows);
}

}  // namespace hadal
