// HeadLoss: output head and in-place cross-entropy, a chunk of tokens at a time (§2.4): logits of the chunk [C, vocab]
// in f32 (f64) → overwritten by their gradient → gradient of h and of the head → the buffer serves the next chunk. So
// memory grows with C * vocab and never with all tokens. The weight gradient is taken at once (WeightGradient::now), or
// later by backward_weight, which makes the logits again.
#pragma once
#include <functional>

#include "nn/linear.h"

namespace hadal {

enum class WeightGradient { now, later };

struct HeadLoss {
  Linear head;               // [vocab, hidden]; the embedding's parameter when tied
  int64_t chunk_tokens = 0;  // 0 = chunk_rows() chooses

  struct Rows {
    Tensor h;        // [rows, hidden]
    Tensor targets;  // [rows] i32, < 0: no target
    Tensor losses;   // [rows] f32 (f64), written: -log p(target), 0 without a target
  };

  static int64_t chunk_rows(int64_t vocab, int64_t rows, int64_t chunk_tokens);
  void forward(const Exec& exec, const Rows& rows) const;
  // The same; dh := gradient of scale * sum of the losses.
  void forward_backward(const Exec& exec, const Rows& rows, double scale, const Tensor& dh, WeightGradient when) const;
  void backward_weight(const Exec& exec, const Rows& rows, double scale) const;
  Tensor logits(const Exec& exec, const Tensor& h) const;  // [rows, vocab] f32 (f64)

 private:
  void each_chunk(const Exec& exec, const Rows& rows, double scale, bool gradient,
                  const std::function<void(const Tensor& logits, int64_t first)>& use) const;
  Tensor gradient_operand(const Exec& exec, const Tensor& logits, DType dtype) const;
};

double sum_of_losses(const Tensor& losses);  // in row order, FP64

}  // namespace hadal
