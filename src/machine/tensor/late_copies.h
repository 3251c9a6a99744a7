// Copies of tensors on the host that come while the device goes on: what a checkpoint is made of.
#pragma once
#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace hadal {

struct LateCopies {
  // As host_copies(): those of tensors of the host are these themselves, the others have no values yet.
  std::vector<Tensor> copies;
  // Fills the others, on any thread, with what their tensors held when all that was queued before late_host_copies()
  // had run. Until it has returned nobody may queue work that writes to them. It keeps them while it lives.
  std::function<void()> arrive;
};
LateCopies late_host_copies(const std::vector<Tensor>& tensors);

}  // namespace hadal
