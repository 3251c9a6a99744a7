// Embedding: y[t] = row ids[t] of W [vocab, hidden]. The gradient adds rows in token order. MTP modules read the same
// W, and a tied head. Of a vocabulary cut over ranks (the parameter's box) each gives the rows that it holds, and zeros
// for the other tokens: the members' results are partial sums, for the caller to add up.
#pragma once
#include "nn/parameter.h"

namespace hadal {

struct Embedding {
  Parameter* weight = nullptr;

  Tensor forward(const Exec& exec, const Tensor& ids, DType dtype) const;  // ids [n] i32; [n, hidden]
  // dy of all tokens; adds those of the own rows.
  void backward_weight(const Exec& exec, const Tensor& dy, const Tensor& ids) const;
};

}  // namespace hadal
