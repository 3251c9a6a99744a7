// Embedding: row ids[t] of W [vocab, hidden]. The gradient adds rows in token order; the same W may serve MTP modules.
#pragma once
#include <span>

#include "nn/parameter.h"

namespace hadal {

struct Embedding {
  Parameter* weight = nullptr;

  Tensor forward(const Exec& exec, std::span<const int32_t> ids, DType dtype) const;  // [ids, hidden]
  void backward_weight(const Exec& exec, const Tensor& dy, std::span<const int32_t> ids) const;
};

// dst[index[i]] += src[i]; indexes are distinct. The transpose of a row gather.
void add_rows(const Exec& exec, const Tensor& dst, const Tensor& src, std::span<const int32_t> index);

}  // namespace hadal
