// HeadLoss: output head and in-place cross-entropy, a chunk of tokens at a time (§2.4): logits of the chunk [C, vocab]
// in f32 (f64) → overwritten by their gradient → gradient of h and of the head → the buffer serves the next chunk. So
// memory grows with C * vocab and never with all tokens. The weight gradient is taken at once (WeightGradient::now), or
// later by backward_weight, which makes the logits again.
//
// Of a vocabulary cut over ranks (the box of the head's parameter) each member of `partners` makes the logits of its
// own rows, in the same chunks of the same tokens; what is known of a token's row of logits is exchanged chunk by
// chunk (vocabulary.h). Null or of one member: not cut.
#pragma once
#include <functional>
#include <span>

#include "nn/linear.h"

namespace hadal {

class Group;

enum class WeightGradient { now, later };

struct HeadLoss {
  Linear head;               // [vocab, hidden]; the embedding's parameter when tied
  int64_t chunk_tokens = 0;  // 0 = chunk_rows() chooses

  // Of rows without a target no logits are made where `scored` lists those that have one: of most of a dialogue's, and
  // of half of a window's in validation.
  struct Rows {
    Tensor h;        // [rows, hidden]
    Tensor targets;  // [rows] i32, < 0: no target; with `scored` [m]
    Tensor losses;   // [rows] f32 (f64), written: -log p(target), 0 without a target; the same on all members
    std::span<const float> weights = {};  // of each loss in the gradient, as many as targets; empty: 1 all
    Tensor scored = {};                   // [m] i32, ascending: which rows the targets are of; empty: all
    int64_t count() const { return targets.count(); }
  };

  static int64_t chunk_rows(int64_t vocab, int64_t rows, int64_t chunk_tokens);
  // Columns of the logits that a member holds, about: what all members cut their chunks by.
  int64_t columns(const Group* partners) const;

  void forward(const Exec& exec, const Rows& rows, Group* partners = nullptr) const;
  // The same; dh := gradient of scale * sum of the weighted losses; with partners what the own rows of the vocabulary
  // give to it, a partial sum that the caller adds up over the members.
  void forward_backward(const Exec& exec, const Rows& rows, double scale, const Tensor& dh, WeightGradient when,
                        Group* partners = nullptr) const;
  void backward_weight(const Exec& exec, const Rows& rows, double scale, Group* partners = nullptr) const;
  Tensor logits(const Exec& exec, const Tensor& h) const;  // [rows, own vocab] f32 (f64)

 private:
  struct Task {
    double scale = 1;
    bool gradient = false;
    Group* partners = nullptr;
  };
  struct Chunk {  // n rows with targets, from first on
    Tensor logits, h;
    int64_t first = 0, n = 0;
  };
  void each_chunk(const Exec& exec, const Rows& rows, const Task& task,
                  const std::function<void(const Chunk&)>& use) const;
  void cross_entropy(const Exec& exec, const Rows& rows, const Task& task, const Chunk& chunk,
                     const Tensor& own_targets) const;
  Tensor gradient_operand(const Exec& exec, const Tensor& logits, DType dtype) const;
};

// In row order, FP64; each times its weight where there are some.
double sum_of_losses(const Tensor& losses, std::span<const float> weights = {});

}  // namespace hadal
