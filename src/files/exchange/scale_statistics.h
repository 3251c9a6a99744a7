// What the FP8 scales of a model's files are like: whether any is unusable, whether all are powers of two.
#pragma once
#include <cstdint>

#include "storage/tensor_files.h"

namespace hadal {

struct ScaleStatistics {  // of all tensors named *.weight_scale_inv
  int64_t tensors = 0, scales = 0, zeros = 0, negative = 0, nan = 0, infinite = 0, not_powers_of_two = 0;
  double min = 0, max = 0;  // of the finite ones; min = max = 0 when there is none
};
ScaleStatistics scale_statistics(const TensorFiles& files);

}  // namespace hadal
