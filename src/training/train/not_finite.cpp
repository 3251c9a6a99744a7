#include "train/not_finite.h"

#include <fmt/format.h>

#include "ops/pointwise.h"

namespace hadal {
namespace {

std::string weight_not_finite(const Exec& exec, const Transformer& model) {
  for (const Parameter* parameter : model.parameters()) {
    const Tensor& value = parameter->value.plain;  // narrow, it may be infinite where the master is not
    if (value && !ops::all_finite(exec, value)) return parameter->spec.name + " holds NaN or Inf";
  }
  return "";
}

std::string output_not_finite(const Exec& exec, const Transformer& model, std::span<const MicroBatch> batches) {
  std::string first;
  const Observer observer = [&](const std::string& name, const Tensor& tensor) {
    if (first.empty() && tensor.dtype() != DType::i32 && !ops::all_finite(exec, tensor))
      first = name + " is the first that is not finite";
  };
  for (const MicroBatch& batch : batches)
    if (first.empty() && batch.n_tokens() > 0) model.forward(exec, batch, {.observer = observer});
  return first;
}

// What the first rank that found something found.
std::string first_found(const std::string& own, RankPlace* place) {
  if (!place || place->world().size() == 1) return own;
  const std::vector<std::string> found = place->world().exchange(own);
  for (size_t rank = 0; rank < found.size(); ++rank)
    if (!found[rank].empty()) return fmt::format("{} on rank {}", found[rank], rank);
  return "";
}

}  // namespace

std::string where_not_finite(const Exec& exec, const Transformer& model, std::span<const MicroBatch> batches,
                             RankPlace* place) {
  const std::string weight = first_found(weight_not_finite(exec, model), place);
  if (!weight.empty() || (place && !place->holds_whole_model())) return weight;
  return first_found(output_not_finite(exec, model, batches), place);
}

}  // namespace hadal
