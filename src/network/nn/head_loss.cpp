#include "nn/head_loss.h"

#include <algorithm>

#include "base/error.h"
#include "comm/group.h"
#include "nn/norm.h"
#include "nn/vocabulary.h"
#include "ops/pointwise.h"

namespace hadal {

double sum_of_losses(const Tensor& losses, std::span<const float> weights) {
  double sum = 0;
  for (int64_t r = 0; r < losses.count(); ++r)
    sum += weights.empty() ? element(losses, r) : double(weights[size_t(r)]) * element(losses, r);
  return sum;
}

namespace {

Tensor part_of(const Tensor& ids, int64_t first, int64_t n) {
  return ids.view({ids.count(), 1}).row_range(first, n).view({n});
}

// Rows [first, first + n) as runs of one weight: what a source's passages have in common.
template <class Visit>
void each_run(std::span<const float> weights, int64_t first, int64_t n, const Visit& visit) {
  for (int64_t begin = 0; begin < n;) {
    int64_t end = weights.empty() ? n : begin + 1;
    while (end < n && weights[size_t(first + end)] == weights[size_t(first + begin)]) ++end;
    visit(begin, end - begin, weights.empty() ? 1.0 : double(weights[size_t(first + begin)]));
    begin = end;
  }
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

// Losses of a chunk; its logits := their gradient.
void HeadLoss::cross_entropy(const Exec& exec, const Rows& rows, const Task& task, const Chunk& chunk,
                             const Tensor& own_targets) const {
  const bool cut = task.partners && task.partners->size() > 1;
  const Tensor targets = rows.targets.view({rows.count(), 1}), all = rows.losses.view({rows.losses.count(), 1});
  const Tensor losses =
      rows.scored ? Tensor::empty(exec, all.dtype(), {chunk.n, 1}) : all.row_range(chunk.first, chunk.n);
  each_run(rows.weights, chunk.first, chunk.n, [&](int64_t begin, int64_t count, double weight) {
    const Tensor part = chunk.logits.row_range(begin, count);
    const Tensor of = targets.row_range(chunk.first + begin, count), to = losses.row_range(begin, count);
    if (cut) {
      const Tensor own = own_targets.view({rows.count(), 1}).row_range(chunk.first + begin, count);
      cross_entropy_of_parts(exec, {part, of, own, to, task.scale * weight, task.gradient}, *task.partners);
    } else {
      ops::cross_entropy(exec, part, of, task.scale * weight, to, task.gradient);
    }
  });
  if (rows.scored) ops::put_rows(exec, all, losses, part_of(rows.scored, chunk.first, chunk.n));
}

// For each chunk: logits = h W^T; losses, and logits := their gradient; use(chunk).
void HeadLoss::each_chunk(const Exec& exec, const Rows& rows, const Task& task,
                          const std::function<void(const Chunk&)>& use) const {
  const int64_t n_rows = rows.count(), most = chunk_rows(columns(task.partners), n_rows, chunk_tokens);
  const bool cut = task.partners && task.partners->size() > 1;
  check(n_rows == (rows.scored ? rows.scored.count() : rows.h.rows()) && rows.losses.count() == rows.h.rows(),
        ErrorKind::internal, "{} targets and {} losses for {} rows", n_rows, rows.losses.count(), rows.h.rows());
  check(rows.weights.empty() || int64_t(rows.weights.size()) == n_rows, ErrorKind::internal,
        "{} weights for {} targets", rows.weights.size(), n_rows);
  check(cut || !is_slice_of_vocabulary(*head.weight), ErrorKind::internal,
        "the head holds {} of {} rows of the vocabulary and has no partners for the others", head.out_features(),
        head.weight->spec.shape[0]);
  const Tensor own_targets = cut ? own_rows_of(exec, *head.weight, rows.targets) : rows.targets;
  const Tensor buffer = Tensor::empty(exec, statistics_dtype(rows.h.dtype()), {most, head.out_features()});
  if (rows.scored) rows.losses.zero(exec);
  const Tensor gathered = rows.scored ? Tensor::empty(exec, rows.h.dtype(), {most, rows.h.cols()}) : Tensor();
  for (int64_t first = 0; first < n_rows; first += most) {
    const int64_t n = std::min(most, n_rows - first);
    Chunk chunk{buffer.row_range(0, n), rows.scored ? gathered.row_range(0, n) : rows.h.row_range(first, n), first, n};
    if (rows.scored) ops::gather_rows(exec, chunk.h, rows.h, part_of(rows.scored, first, n));
    head.forward(exec, chunk.logits, chunk.h);
    cross_entropy(exec, rows, task, chunk, own_targets);
    if (use) use(chunk);
  }
}

// Chunks must be the same on all members, whatever slices they hold.
int64_t HeadLoss::columns(const Group* partners) const {
  const int64_t members = partners ? partners->size() : 1;
  return members == 1 ? head.out_features() : (head.weight->spec.shape[0] + members - 1) / members;
}

void HeadLoss::forward(const Exec& exec, const Rows& rows, Group* partners) const {
  each_chunk(exec, rows, {1.0, false, partners}, nullptr);
}

// Products of 16 bits want such operands on both sides.
Tensor HeadLoss::gradient_operand(const Exec& exec, const Tensor& logits, DType dtype) const {
  if (logits.dtype() == dtype) return logits;
  const Tensor narrow = Tensor::empty(exec, dtype, {logits.rows(), logits.cols()});
  ops::copy(exec, narrow, logits);
  return narrow;
}

void HeadLoss::forward_backward(const Exec& exec, const Rows& rows, double scale, const Tensor& dh, WeightGradient when,
                                Group* partners) const {
  if (rows.scored) dh.zero(exec);
  const auto chunks = [&](const Tensor* grad, ops::Write write) {
    each_chunk(exec, rows, {scale, true, partners}, [&](const Chunk& chunk) {
      const Tensor dlogits = gradient_operand(exec, chunk.logits, rows.h.dtype());
      const Tensor d =
          rows.scored ? Tensor::empty(exec, dh.dtype(), {chunk.n, dh.cols()}) : dh.row_range(chunk.first, chunk.n);
      head.backward_input(exec, d, dlogits);
      if (rows.scored) ops::put_rows(exec, dh, d, part_of(rows.scored, chunk.first, chunk.n));
      if (grad) head.weight_product(exec, *grad, dlogits, chunk.h, write);
      write = ops::Write::add;
    });
  };
  if (when == WeightGradient::later) return chunks(nullptr, ops::Write::add);
  head.weight->contribute([&](const Tensor& grad, ops::Write write) { chunks(&grad, write); });
}

void HeadLoss::backward_weight(const Exec& exec, const Rows& rows, double scale, Group* partners) const {
  head.weight->contribute([&](const Tensor& grad, ops::Write write) {
    each_chunk(exec, rows, {scale, true, partners}, [&](const Chunk& chunk) {
      head.weight_product(exec, grad, gradient_operand(exec, chunk.logits, rows.h.dtype()), chunk.h, write);
      write = ops::Write::add;
    });
  });
}

}  // namespace hadal
