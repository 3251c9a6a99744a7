// Whole tensors in memory, of what the ranks have of them, as a checkpoint has them in a file: for proofs, whose models
// are small.
#pragma once
#include <vector>

#include "checkpoint/tensor_file.h"
#include "comm/group.h"

namespace hadal {

// The tensors of the file in its order, on the first rank; elsewhere nothing. All ranks call it.
std::vector<NamedTensor> bring_together(const Exec& exec, Group& ranks, const TensorFile& file);

}  // namespace hadal
