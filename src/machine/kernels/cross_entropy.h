// Cross-entropy in place (§2.4): loss = logsumexp(row) - row[target]; with gradient the row becomes
// (softmax(row) - onehot(target)) * scale. Target -1: loss 0, and a row of zeros. No workspace.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct CrossEntropy {
  Rows logits;                       // [rows, vocab]
  const int32_t* targets = nullptr;  // [rows], -1 or in [0, vocab)
  void* loss = nullptr;              // [rows] f32 (f64)
  int64_t rows = 0, vocab = 0;
  double scale = 1;
  bool gradient = false;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(cross_entropy, CrossEntropy)

}  // namespace hadal::kernels
