#include "train/not_finite.h"

#include <fmt/format.h>

#include "ops/pointwise.h"

namespace hadal {

std::string where_not_finite(const Exec& exec, const Transformer& model, std::span<const MicroBatch> batches,
                             bool alone) {
  for (const Parameter* parameter : model.parameters()) {
    const Tensor& value = parameter->value.plain;  // narrow, it may be infinite where the master is not
    if (value && !ops::all_finite(exec, value)) return parameter->spec.name + " holds NaN or Inf";
  }
  std::string first;
  const Observer observer = [&](const std::string& name, const Tensor& tensor) {
    if (first.empty() && tensor.dtype() != DType::i32 && !ops::all_finite(exec, tensor))
      first = name + " is the first that is not finite";
  };
  for (const MicroBatch& batch : batches)
    if (alone && first.empty()) model.forward(exec, batch, {.observer = observer});
  return first;
}

}  // namespace hadal
