// Cross-entropy where each rank has some columns of the logits (kernels/softmax_part.h): statistics of the own part,
// and once those of all parts are combined, the own part of the gradient. logits [rows, cols] f64 or f32; targets
// [rows] i32, a column of this part or -1.
#pragma once
#include "tensor/tensor.h"

namespace hadal::ops {

// statistics [rows, 4], contiguous, in the dtype of the logits: largest logit, sum of exp(logit - largest), the
// target's logit, 1; the last two 0 where the target is -1. keep: logits := exp(logits - largest).
void softmax_statistics(const Exec& exec, const Tensor& logits, const Tensor& targets, const Tensor& statistics,
                        bool keep);
// logits, which hold the exponentials: row r times factors[r][0], 0 clears the row; the target's column :=
// factors[r][1]. factors [rows, 2], contiguous, in the dtype of the logits.
void softmax_gradient(const Exec& exec, const Tensor& logits, const Tensor& targets, const Tensor& factors);

}  // namespace hadal::ops
