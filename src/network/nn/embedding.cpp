#include "nn/embedding.h"

#include "ops/pointwise.h"

namespace hadal {

Tensor Embedding::forward(const Exec& exec, const Tensor& ids, DType dtype) const {
  const Tensor y = Tensor::empty(exec, dtype, {ids.count(), weight->box.size[1]});
  ops::embedding(exec, y, weight->value.plain, ids);
  return y;
}

void Embedding::backward_weight(const Exec& exec, const Tensor& dy, const Tensor& ids) const {
  weight->contribute(
      [&](const Tensor& grad, ops::Write write) { ops::embedding_backward_weight(exec, grad, dy, ids, write); });
}

}  // namespace hadal
