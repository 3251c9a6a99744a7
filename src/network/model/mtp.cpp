#include "model/mtp.h"

namespace hadal {

void MtpModule::join(const Run& run, const Tensor& embedding, const Tensor& hidden, Saved& saved) const {
  const int64_t width = embedding.cols();
  const Tensor joined = Tensor::empty(run.exec, run.dtype, {embedding.rows(), 2 * width});
  embedding_norm.forward(run.exec, joined.col_range(0, width), embedding, saved.embedding_norm);
  hidden_norm.forward(run.exec, joined.col_range(width, width), hidden, saved.hidden_norm);
  saved.joined = projection.recipe.fprop_operand(run.exec, joined);
}

Tensor MtpModule::forward(const Run& run, const Rows& rows, const Tensor& embedding, const Tensor& hidden,
                          Saved& saved) const {
  join(run, embedding, hidden, saved);
  Tensor x = Tensor::empty(run.exec, run.dtype, {embedding.rows(), embedding.cols()});
  projection.forward(run.exec, x, saved.joined);
  if (!run.keep || run.recompute != Recompute::none) saved.joined.reset();
  x = block.forward(run, rows, x, saved.block);
  return final_norm.forward(run.exec, x, saved.final_norm);
}

MtpModule::Gradients MtpModule::backward(const Run& run, const Rows& rows, Tensor dh, Saved& saved) const {
  const Exec& exec = run.exec;
  const int64_t n = dh.rows(), width = dh.cols();
  Tensor dx = Tensor::empty(exec, run.dtype, {n, width});
  final_norm.backward_input(exec, dx, dh, saved.final_norm, false);
  final_norm.backward_weight(exec, saved.final_norm);
  dh.reset();
  dx = block.backward(run, rows, std::move(dx), saved.block);

  if (!saved.joined) join(run, saved.embedding_norm.x, saved.hidden_norm.x, saved);
  Tensor d_joined = Tensor::empty(exec, run.dtype, {n, 2 * width});
  projection.backward_input(exec, d_joined, dx);
  projection.backward_weight(exec, dx, saved.joined);
  saved.joined.reset();
  dx.reset();
  Gradients gradients{Tensor::empty(exec, run.dtype, {n, width}), Tensor::empty(exec, run.dtype, {n, width})};
  embedding_norm.backward_input(exec, gradients.embedding, d_joined.col_range(0, width), saved.embedding_norm, false);
  hidden_norm.backward_input(exec, gradients.hidden, d_joined.col_range(width, width), saved.hidden_norm, false);
  embedding_norm.backward_weight(exec, saved.embedding_norm);
  hidden_norm.backward_weight(exec, saved.hidden_norm);
  return gradients;
}

}  // namespace hadal
