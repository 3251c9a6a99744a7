#include "train/not_finite.h"

#include <fmt/format.h>

#include "nn/linear.h"
#include "nn/product_watch.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

// Names the first linear that reads, or makes of finite operands, what is not finite; each product is made once more.
class FirstLinear : public ProductWatch {
 public:
  explicit FirstLinear(std::string& first) : first_(first) {}
  void product(const Exec& watched, const ProductSeen& seen) override {
    if (!first_.empty() || seen.product != Product::fprop) return;
    const Exec exec = with_watch(watched, nullptr);
    const int64_t rows = rows_in_use(seen.offsets, seen.x.rows());  // behind them is anything
    if (rows == 0) return;
    const auto finite = [&](const Tensor& tensor) { return ops::all_finite(exec, tensor.row_range(0, rows)); };
    const bool reads = !finite(ops::dequantise(exec, seen.x));
    if (!reads && finite(result(exec, seen))) return;
    first_ = fmt::format("{} is the first linear whose {} is not finite", seen.weight->spec.name,
                         reads ? "input" : "output");
  }

 private:
  static Tensor result(const Exec& exec, const ProductSeen& seen) {
    const Shape& shape = seen.weight->box.size;
    const Tensor y = Tensor::empty(exec, seen.x.dtype(), {seen.x.rows(), shape[shape.size() - 2]});
    if (seen.offsets) {
      GroupedLinear{seen.weight, seen.recipe}.forward(exec, y, seen.x, seen.offsets);
    } else {
      Linear{seen.weight, seen.recipe}.forward(exec, y, seen.x);
    }
    return y;
  }
  std::string& first_;
};

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
  FirstLinear watch(first);
  for (const MicroBatch& batch : batches)
    if (first.empty() && batch.n_tokens() > 0) model.forward(with_watch(exec, &watch), batch, {.observer = observer});
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
