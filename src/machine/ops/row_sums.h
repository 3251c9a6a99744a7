// Sums of rows that lists name: the two halves of combine and of its mirror (ops/routing.h), for experts that lie on
// other ranks. Rows are summed where they lie, in several tensors of one format: what came from each rank.
#pragma once
#include <vector>

#include "ops/write.h"
#include "tensor/tensor.h"

namespace hadal::ops {

// List i names the rows index[begin[i]] .. index[begin[i+1]].
struct RowLists {
  Tensor begin;  // [n + 1] i32, from 0, ascending
  Tensor index;  // [begin[n], 2] i32: in which of the tensors, and which of its rows
};

// y[i] = round(sum over list i of weights[j] * x[index[j]]), FP32 sums; y has the wire type. weights [begin[n]] f32
// (f64), or empty: the rows themselves are added.
void group_sums(const Exec& exec, const Tensor& y, const std::vector<Tensor>& x, const RowLists& lists,
                const Tensor& weights);
// y[i] (+)= sum over list i of x[index[j]]. No list is empty: a token without a group is an error.
void group_totals(const Exec& exec, const Tensor& y, const std::vector<Tensor>& x, const RowLists& lists, Write write);

}  // namespace hadal::ops
