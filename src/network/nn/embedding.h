// Embedding: y[t] = row ids[t] of W [vocab, hidden]. The gradient adds rows in token order. MTP modules read the same
// W, and a tied head.
#pragma once
#include "nn/parameter.h"

namespace hadal {

struct Embedding {
  Parameter* weight = nullptr;

  Tensor forward(const Exec& exec, const Tensor& ids, DType dtype) const;  // ids [n] i32; [n, hidden]
  void backward_weight(const Exec& exec, const Tensor& dy, const Tensor& ids) const;
};

}  // namespace hadal
