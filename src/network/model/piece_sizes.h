// PieceSizes: for what a piece, or a layer in it, is asked how much memory it takes: rows of its stream, and how they
// are computed.
#pragma once
#include <cstdint>

#include "base/dtype.h"
#include "config/enums.h"

namespace hadal {

struct PieceSizes {
  int64_t rows = 0;  // own ones
  DType dtype = DType::f32;
  AttentionForm form = AttentionForm::up_projected;
  Recompute recompute = Recompute::none;
  bool plain_backward = false;    // pass.h
  int64_t queries = 0, keys = 0;  // where ranks share a micro-batch (row_split.h); 0: the same rows
  bool split() const { return queries > 0 || keys > 0; }
  int64_t n_queries() const { return queries > 0 ? queries : rows; }
  int64_t n_keys() const { return keys > 0 ? keys : rows; }
  int64_t bytes(int64_t numbers) const { return rows * numbers * dtype_bytes(dtype); }
  int64_t wide(int64_t numbers) const { return rows * numbers * dtype_bytes(dtype == DType::f64 ? dtype : DType::f32); }
};

}  // namespace hadal
