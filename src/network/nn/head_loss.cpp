#include "nn/head_loss.h"

#include <algorithm>

#include "base/error.h"
#include "nn/norm.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

// Adds the losses of a chunk in row order.
double add_losses(const Tensor& loss, std::span<const int32_t> targets, double sum, double* log_probs) {
  for (size_t r = 0; r < targets.size(); ++r) {
    const double value = targets[r] < 0 ? 0.0 : element(loss, int64_t(r));
    sum += value;
    if (log_probs) log_probs[r] = targets[r] < 0 ? 0.0 : -value;
  }
  return sum;
}

}  // namespace

// About 16 MiB of logits; a multiple of 128, so that the weight gradient's sums over rows are cut where they always
// are.
int64_t HeadLoss::chunk_rows(int64_t vocab, int64_t rows, int64_t chunk_tokens) {
  if (chunk_tokens <= 0) chunk_tokens = std::max<int64_t>(128, (int64_t(16) << 20) / (4 * std::max<int64_t>(vocab, 1)));
  return std::min(std::max<int64_t>(rows, 1), (chunk_tokens + 127) / 128 * 128);
}

Tensor HeadLoss::logits(const Exec& exec, const Tensor& h) const {
  const Tensor result = Tensor::empty(exec, statistics_dtype(h.dtype()), {h.rows(), head.out_features()});
  head.forward(exec, result, h);
  return result;
}

double HeadLoss::forward(const Exec& exec, const Tensor& h, std::span<const int32_t> targets, double* log_probs) const {
  const int64_t rows = h.rows(), chunk = chunk_rows(head.out_features(), rows, chunk_tokens);
  const DType wide = statistics_dtype(h.dtype());
  const Tensor buffer = Tensor::empty(exec, wide, {chunk, head.out_features()}),
               loss = Tensor::empty(exec, wide, {chunk});
  double sum = 0;
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t n = std::min(chunk, rows - first);
    const Tensor logits = buffer.row_range(0, n), row_loss = Tensor::wrap(loss.raw(), wide, {n});
    const auto chunk_targets = targets.subspan(size_t(first), size_t(n));
    head.forward(exec, logits, h.row_range(first, n));
    ops::cross_entropy(exec, logits, chunk_targets, 1.0, row_loss, false);
    sum = add_losses(row_loss, chunk_targets, sum, log_probs ? log_probs + first : nullptr);
  }
  return sum;
}

// bf16 products want bf16 operands on both sides.
Tensor HeadLoss::gradient_operand(const Exec& exec, const Tensor& logits, DType dtype) const {
  if (logits.dtype() == dtype) return logits;
  const Tensor narrow = Tensor::empty(exec, dtype, {logits.rows(), logits.cols()});
  ops::copy(exec, narrow, logits);
  return narrow;
}

double HeadLoss::forward_backward(const Exec& exec, const Tensor& h, std::span<const int32_t> targets, double scale,
                                  const Tensor& dh, WeightGradient when, Saved& saved) const {
  const int64_t rows = h.rows(), chunk = chunk_rows(head.out_features(), rows, chunk_tokens);
  check(int64_t(targets.size()) == rows, ErrorKind::internal, "{} targets for {} rows", targets.size(), rows);
  const DType wide = statistics_dtype(h.dtype());
  const Tensor buffer = Tensor::empty(exec, wide, {chunk, head.out_features()}),
               loss = Tensor::empty(exec, wide, {chunk});
  double sum = 0;
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t n = std::min(chunk, rows - first);
    const Tensor logits = buffer.row_range(0, n), row_loss = Tensor::wrap(loss.raw(), wide, {n}),
                 x = h.row_range(first, n);
    const auto chunk_targets = targets.subspan(size_t(first), size_t(n));
    head.forward(exec, logits, x);
    ops::cross_entropy(exec, logits, chunk_targets, scale, row_loss, true);
    sum = add_losses(row_loss, chunk_targets, sum, nullptr);
    const Tensor dlogits = gradient_operand(exec, logits, h.dtype());
    head.backward_input(exec, dh.row_range(first, n), dlogits);
    if (when == WeightGradient::now) head.backward_weight(exec, dlogits, x);
  }
  if (when == WeightGradient::later) saved = {h, {targets.begin(), targets.end()}, scale};
  return sum;
}

void HeadLoss::backward_weight(const Exec& exec, Saved& saved) const {
  const int64_t rows = saved.h.rows(), chunk = chunk_rows(head.out_features(), rows, chunk_tokens);
  const DType wide = statistics_dtype(saved.h.dtype());
  const Tensor buffer = Tensor::empty(exec, wide, {chunk, head.out_features()}),
               loss = Tensor::empty(exec, wide, {chunk});
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t n = std::min(chunk, rows - first);
    const Tensor logits = buffer.row_range(0, n), row_loss = Tensor::wrap(loss.raw(), wide, {n});
    const Tensor x = saved.h.row_range(first, n);
    head.forward(exec, logits, x);
    ops::cross_entropy(exec, logits, std::span(saved.targets).subspan(size_t(first), size_t(n)), saved.scale, row_loss,
                       true);
    head.backward_weight(exec, gradient_operand(exec, logits, saved.h.dtype()), x);
  }
  saved = Saved();
}

}  // namespace hadal
