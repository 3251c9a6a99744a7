// HeadLoss: output head and in-place cross-entropy, a chunk of tokens at a time (§2.4): logits of the chunk [C, vocab]
// in f32 (f64) → overwritten by their gradient → gradient of h and of the head → the buffer serves the next chunk. So
// memory grows with C * vocab and never with all tokens. The weight gradient is taken at once (WeightGradient::now), or
// later by backward_weight, which recomputes the logits.
#pragma once
#include <span>
#include <vector>

#include "nn/linear.h"

namespace hadal {

enum class WeightGradient { now, later };

struct HeadLoss {
  Linear head;               // [vocab, hidden]; the embedding's parameter when tied
  int64_t chunk_tokens = 0;  // 0 = chunk_rows() chooses

  struct Saved {  // only for WeightGradient::later
    Tensor h;
    std::vector<int32_t> targets;
    double scale = 0;
  };

  static int64_t chunk_rows(int64_t vocab, int64_t rows, int64_t chunk_tokens);
  // Sum of -log p(target) over rows with a target (>= 0). log_probs, if given, receives log p per row (0 without
  // target).
  double forward(const Exec& exec, const Tensor& h, std::span<const int32_t> targets, double* log_probs) const;
  // The same sum; dh := gradient of scale * sum.
  double forward_backward(const Exec& exec, const Tensor& h, std::span<const int32_t> targets, double scale,
                          const Tensor& dh, WeightGradient when, Saved& saved) const;
  void backward_weight(const Exec& exec, Saved& saved) const;
  Tensor logits(const Exec& exec, const Tensor& h) const;  // [rows, vocab] f32 (f64)

 private:
  Tensor gradient_operand(const Exec& exec, const Tensor& logits, DType dtype) const;
};

}  // namespace hadal
